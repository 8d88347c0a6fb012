{{/*
What is wrong with routes (`webhook/template.py`): two that one request could match, a parameter that is there twice, a
secret in the path. Only templates without percent-encoding come here, by `values.schema.json`, so that what is equal is
equal as it stands.
*/}}

{{/* A name of a parameter or a placeholder in the one form in which all its spellings are equal. */}}
{{- define "aurora-bridge.bareName" -}}
{{- regexReplaceAll "[^a-z0-9]" (lower .) "" }}
{{- end }}

{{/* A template taken apart, as JSON: segments of the path, static parameters, and names of all parameters. */}}
{{- define "aurora-bridge.parsedTemplate" -}}
{{- $secrets := .secrets }}
{{- $rest := regexReplaceAll "^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*" .template "" }}
{{- $halves := splitn "?" 2 $rest }}
{{- $static := dict }}
{{- $names := list }}
{{- range splitList "&" (default "" $halves._1) | compact }}
{{- $piece := splitn "=" 2 . }}
{{- $names = append $names $piece._0 }}
{{- if not (or (contains "<" .) (has (include "aurora-bridge.bareName" $piece._0) $secrets)) }}
{{- $_ := set $static $piece._0 (default "" $piece._1) }}
{{- end }}
{{- end }}
{{- toJson (dict "segments" (splitList "/" (trimPrefix "/" $halves._0)) "static" $static "names" $names) }}
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
{{- $secrets := list }}
{{- range concat $settings.ingress.secret_parameters (list $settings.auth.query_parameter) | compact }}
{{- $secrets = append $secrets (include "aurora-bridge.bareName" .) }}
{{- end }}
{{- range $settings.routes }}
{{- with .query_parameter }}
{{- $secrets = append $secrets (include "aurora-bridge.bareName" .) }}
{{- end }}
{{- end }}
{{- $parsed := list }}
{{- range $number, $route := $settings.routes }}
{{- $template := include "aurora-bridge.parsedTemplate" (dict "template" $route.template "secrets" $secrets) | fromJson }}
{{- $parsed = append $parsed $template }}
{{- if ne (len $template.names) (len (uniq $template.names)) }}
settings.routes[{{ $number }}].template: {{ $route.template }} has a parameter twice. Remove one of the two.
{{- end }}
{{- range $placeholder := regexFindAll "<[^<>]*>" (join "/" $template.segments) -1 }}
{{- if has (include "aurora-bridge.bareName" $placeholder) $secrets }}
settings.routes[{{ $number }}].template: {{ $placeholder }} is a secret and stands in the path, where proxies log it and nothing can take it out. Move it into the query, or remove it.
{{- end }}
{{- end }}
{{- end }}
{{- range $number, $one := $parsed }}
{{- range $othersNumber, $other := $parsed }}
{{- if and (lt $number $othersNumber) (eq (len $one.segments) (len $other.segments)) }}
{{- $differ := "" }}
{{- range $place, $segment := $one.segments }}
{{- $differ = printf "%s%s" $differ (include "aurora-bridge.segmentsDiffer" (dict "one" $segment "other" (index $other.segments $place))) }}
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
