{{/* Whether what is pasted into Aurora comes through: an Ingress or HTTPRoute has the host, and the path is below its. */}}

{{- define "aurora-bridge.refusals.reach" -}}
{{- $entries := list }}
{{- with .Values.ingress }}
{{- if and .enabled .hosts }}
{{- $entries = append $entries (dict "value" "ingress" "names" "hosts" "hosts" .hosts "path" .path) }}
{{- end }}
{{- end }}
{{- with .Values.httpRoute }}
{{- if and .enabled .hostnames }}
{{- $entries = append $entries (dict "value" "httpRoute" "names" "hostnames" "hosts" .hostnames "path" .path) }}
{{- end }}
{{- end }}
{{- $targets := list }}
{{- if .Values.settings.default_route }}
{{- $targets = append $targets (dict "where" "settings.ingress.base_path" "came" .Values.settings.ingress.base_path "host" "" "path" .Values.settings.ingress.base_path) }}
{{- end }}
{{- range $number, $route := .Values.settings.routes }}
{{- $host := regexFind "^[A-Za-z][A-Za-z0-9+.-]*://[^/?#:]*" $route.template | splitList "//" | last | lower }}
{{- $path := (splitn "?" 2 (include "aurora-bridge.originForm" $route.template))._0 }}
{{- $targets = append $targets (dict "where" (printf "settings.routes[%d].template" $number) "came" $route.template "host" $host "path" $path) }}
{{- end }}
{{- range $target := $targets }}
{{- $hosts := list }}
{{- $paths := list }}
{{- $reached := false }}
{{- range $entries }}
{{- $hosts = append $hosts (printf "%s.%s, %s" .value .names (join ", " .hosts)) }}
{{- if or (not $target.host) (has $target.host .hosts) }}
{{- $paths = append $paths (printf "%s.path, %s" .value .path) }}
{{- $reached = or $reached (hasPrefix (printf "%s/" (trimSuffix "/" .path)) (printf "%s/" (trimSuffix "/" $target.path))) }}
{{- end }}
{{- end }}
{{- if and $entries (not $paths) }}
{{ $target.where }}: {{ $target.came }} came; allowed is a host that leads here: {{ join "; or " $hosts }}. Add {{ $target.host }} there, or correct the template.
{{- else if and $entries (not $reached) }}
{{ $target.where }}: {{ $target.came }} came; allowed is a path that leads here, at or below {{ join "; or " $paths }}. Correct one of the two, so that webhooks find the daemon{{ if not (hasPrefix "settings.routes" $target.where) }}; or set settings.default_route to false{{ end }}.
{{- end }}
{{- end }}
{{- end }}
