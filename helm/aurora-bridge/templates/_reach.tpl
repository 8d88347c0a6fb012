{{/* A template without scheme and host. */}}
{{- define "aurora-bridge.originForm" -}}
{{- regexReplaceAll "^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*" . "" }}
{{- end }}

{{/* Whether what is pasted into Aurora comes through: an Ingress or HTTPRoute has the host, and the path is below its. */}}

{{- define "aurora-bridge.refusals.reach" -}}
{{- $entries := list }}
{{- range $number, $host := include "aurora-bridge.ingressHosts" . | fromJsonArray }}
{{- range $host.paths }}
{{- $entries = append $entries (dict "value" (printf "ingress.hosts[%d]" $number) "host" $host.host "path" .path) }}
{{- end }}
{{- end }}
{{- range ternary .Values.httpRoute.hostnames list .Values.httpRoute.enabled }}
{{- $entries = append $entries (dict "value" "httpRoute" "host" . "path" $.Values.httpRoute.path) }}
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
{{- $hosts = append $hosts (printf "%s of %s" .host .value) }}
{{- if or (not $target.host) (eq $target.host .host) }}
{{- $paths = append $paths (printf "%s of %s" .path .value) }}
{{- $reached = or $reached (hasPrefix (printf "%s/" (trimSuffix "/" .path)) (printf "%s/" (trimSuffix "/" $target.path))) }}
{{- end }}
{{- end }}
{{- if and $entries (not $paths) }}
{{ $target.where }}: invalid {{ $target.came }}; expected a host that leads here: {{ uniq $hosts | join ", or " }}. Add {{ $target.host }} there, or correct the template.
{{- else if and $entries (not $reached) }}
{{ $target.where }}: invalid {{ $target.came }}; expected a path that leads here, at or below {{ uniq $paths | join ", or " }}. Correct one of the two, so that webhooks find the daemon{{ if not (hasPrefix "settings.routes" $target.where) }}; or set settings.default_route to false{{ end }}.
{{- end }}
{{- end }}
{{- end }}
