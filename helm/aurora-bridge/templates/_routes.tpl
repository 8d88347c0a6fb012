{{/*
What is wrong with routes (`webhook/template.py`): templates that cannot be read, and two that one request could match.
Percent-encoding is refused, so that what is equal is equal as it stands.
*/}}

{{/* A name of a parameter or a placeholder in the one form in which all its spellings are equal (`redaction.py`). */}}
{{- define "aurora-bridge.bareName" -}}
{{- regexReplaceAll "[^a-z0-9]" (lower .) "" }}
{{- end }}

{{/* Not empty for a name that is a secret's, or has one in it: `x[token]`, `x.token`. */}}
{{- define "aurora-bridge.isSecret" -}}
{{- $secrets := .secrets }}
{{- range append (regexSplit "[^A-Za-z0-9_-]+" .name -1) .name }}
{{- if has (include "aurora-bridge.bareName" .) $secrets }}secret{{ end }}
{{- end }}
{{- end }}

{{/* A template without scheme and host. */}}
{{- define "aurora-bridge.originForm" -}}
{{- regexReplaceAll "^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*" . "" }}
{{- end }}

{{/* Why a template cannot be read, empty for one that can. */}}
{{- define "aurora-bridge.templateFault" -}}
{{- $rest := include "aurora-bridge.originForm" . }}
{{- $query := default "" (splitn "?" 2 $rest)._1 }}
{{- if not (or (ne $rest .) (hasPrefix "/" .) (hasPrefix "?" .)) }}
{{- "begins neither with a scheme and host, as in https://hooks.example.com/..., nor with a slash. Copy it from Aurora as it stands" }}
{{- else if contains "#" $rest }}
{{- "has a #, which begins a fragment, and that is never sent. Remove it and what is behind it" }}
{{- else if or (contains "%" $rest) (contains "+" $query) }}
{{- "has percent-encoding, or a plus in the query, which the chart cannot compare. Use letters, digits and - . _ ~" }}
{{- else if regexMatch "[<>]" (regexReplaceAll "<[A-Za-z][A-Za-z0-9_-]*>" $rest "") }}
{{- "has a < or > that is no part of a placeholder. One is a name of letters, digits, - and _, as in <PROJECT_ID>" }}
{{- else if contains "><" $rest }}
{{- "has two placeholders without anything between them, so nothing tells where one value ends. Put something there" }}
{{- else }}
{{- $names := list }}
{{- range splitList "&" $query | compact }}
{{- $names = append $names (splitn "=" 2 .)._0 }}
{{- end }}
{{- if has "" $names }}
{{- "has a parameter without a name. Write name=<PLACEHOLDER> or name=value" }}
{{- else if contains "<" (join "" $names) }}
{{- "has a placeholder for the name of a parameter. Write name=<PLACEHOLDER>" }}
{{- else if ne (len $names) (len (uniq $names)) }}
{{- "has a parameter twice. Remove one of the two" }}
{{- end }}
{{- end }}
{{- end }}

{{/* A template taken apart, as JSON: segments of the path, and static parameters. */}}
{{- define "aurora-bridge.parsedTemplate" -}}
{{- $secrets := .secrets }}
{{- $halves := splitn "?" 2 (include "aurora-bridge.originForm" .template) }}
{{- $static := dict }}
{{- range splitList "&" (default "" $halves._1) | compact }}
{{- $piece := splitn "=" 2 . }}
{{- if not (or (contains "<" .) (include "aurora-bridge.isSecret" (dict "name" $piece._0 "secrets" $secrets))) }}
{{- $_ := set $static $piece._0 (default "" $piece._1) }}
{{- end }}
{{- end }}
{{- toJson (dict "segments" (splitList "/" (trimPrefix "/" $halves._0)) "static" $static) }}
{{- end }}

{{/* Not empty where no segment can match two of them, one from each path. */}}
{{- define "aurora-bridge.segmentsDiffer" -}}
{{- $one := .one }}
{{- $other := .other }}
{{- if not (or (contains "<" $one) (contains "<" $other)) }}
{{- if ne $one $other }}differ{{ end }}
{{- else if not (contains "<" $one) }}
{{- if not (regexMatch (include "aurora-bridge.segmentPattern" $other) $one) }}differ{{ end }}
{{- else if not (contains "<" $other) }}
{{- if not (regexMatch (include "aurora-bridge.segmentPattern" $one) $other) }}differ{{ end }}
{{- else }}
{{- $begin := regexFind "^[^<]*" $one }}
{{- $end := regexFind "[^>]*$" $one }}
{{- $othersBegin := regexFind "^[^<]*" $other }}
{{- $othersEnd := regexFind "[^>]*$" $other }}
{{- if not (and (or (hasPrefix $begin $othersBegin) (hasPrefix $othersBegin $begin)) (or (hasSuffix $end $othersEnd) (hasSuffix $othersEnd $end))) }}differ{{ end }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.segmentPattern" -}}
^{{ regexReplaceAll "<[^<>]*>" (regexQuoteMeta .) ".*" }}$
{{- end }}

{{- define "aurora-bridge.refusals.routes" -}}
{{- $settings := .Values.settings }}
{{- if not (or $settings.default_route $settings.routes) }}
settings.default_route: false came, and there is no other route. Write one below settings.routes, or leave default_route out.
{{- end }}
{{- $auth := $settings.auth }}
{{- $parameters := concat (list "session_token" $auth.header $auth.query_parameter) $settings.ingress.secret_parameters }}
{{- range $settings.routes }}
{{- $parameters = concat $parameters (list (default "" .header) (default "" .query_parameter)) }}
{{- end }}
{{- $secrets := list }}
{{- range compact $parameters }}
{{- $secrets = append $secrets (include "aurora-bridge.bareName" .) }}
{{- end }}
{{- $aliases := (.Files.Get "files/catalogue.json" | fromJson).aliases }}
{{- $parsed := list }}
{{- range $number, $route := $settings.routes }}
{{- with include "aurora-bridge.templateFault" $route.template }}
settings.routes[{{ $number }}].template: {{ $route.template }} {{ . }}.
{{- end }}
{{- $template := include "aurora-bridge.parsedTemplate" (dict "template" $route.template "secrets" $secrets) | fromJson }}
{{- $parsed = append $parsed $template }}
{{- range $placeholder := regexFindAll "<[^<>]*>" (join "/" $template.segments) -1 }}
{{- $name := include "aurora-bridge.bareName" $placeholder }}
{{- if or (has $name $secrets) (has (default "" (get $aliases $name)) $secrets) }}
settings.routes[{{ $number }}].template: {{ $placeholder }} is a secret and stands in the path, where proxies log it and nothing can take it out. Move it into the query, or remove it.
{{- end }}
{{- end }}
{{- end }}
{{- range $number, $one := $parsed }}
{{- range $othersNumber, $other := $parsed }}
{{- /* A path may have a slash too many at its end, and so a segment more, which is empty. */}}
{{- $segments := append $one.segments "" }}
{{- $othersSegments := append $other.segments "" }}
{{- $longer := max (len $one.segments) (len $other.segments) | int }}
{{- if and (lt $number $othersNumber) (le $longer (min (len $segments) (len $othersSegments) | int)) }}
{{- $differ := "" }}
{{- range $place := until $longer }}
{{- $differ = printf "%s%s" $differ (include "aurora-bridge.segmentsDiffer" (dict "one" (index $segments $place) "other" (index $othersSegments $place))) }}
{{- end }}
{{- range $name, $value := $one.static }}
{{- if and (hasKey $other.static $name) (ne $value (get $other.static $name)) }}
{{- $differ = "differ" }}
{{- end }}
{{- end }}
{{- if not $differ }}
settings.routes[{{ $number }}] and settings.routes[{{ $othersNumber }}] could both match one request: {{ (index $settings.routes $number).template }} and {{ (index $settings.routes $othersNumber).template }}. Change a path, or give both the same static parameter with different values.
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
