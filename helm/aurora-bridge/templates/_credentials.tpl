{{/* What each route takes, as `RouteSettings.auth` says; for the default route, `route` is auth itself. */}}

{{/* As JSON: the credentials that the route names, or else those of auth, and where Aurora puts them. */}}
{{- define "aurora-bridge.routeAuth" -}}
{{- $route := .route }}
{{- $auth := .auth }}
{{- $from := ternary $route $auth (not (empty (or $route.tokens $route.basic $route.allow_anonymous))) }}
{{- $anonymous := ternary $route.allow_anonymous $from.allow_anonymous (kindIs "bool" $route.allow_anonymous) }}
{{- $parameter := default (ternary $auth.query_parameter "" (not (empty $from.tokens))) $route.query_parameter }}
{{- toJson (dict "tokens" $from.tokens "basic" $from.basic "anonymous" $anonymous "header" (default $auth.header $route.header) "parameter" $parameter) }}
{{- end }}

{{/* The same in words, for NOTES.txt. */}}
{{- define "aurora-bridge.authentication" -}}
{{- with include "aurora-bridge.routeAuth" . | fromJson }}
{{- $ways := list }}
{{- if .tokens }}
{{- $parameter := ternary (printf " or the parameter %s" .parameter) "" (not (empty .parameter)) }}
{{- $ways = append $ways (printf "the header %s%s, with %s" .header $parameter (include "aurora-bridge.aLine" .tokens)) }}
{{- end }}
{{- if .basic }}
{{- $ways = append $ways (printf "Basic, with %s" (include "aurora-bridge.aLine" .basic)) }}
{{- end }}
{{- if .anonymous }}
{{- $ways = append $ways "none" }}
{{- end }}
{{- join "; or " $ways }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.aLine" -}}
{{- if .file }}a line of the file {{ .file }}{{ else }}a line of the key {{ .key }} of the secret {{ .existingSecret }}{{ end }}
{{- end }}

{{- define "aurora-bridge.refusals.credentials" -}}
{{- $auth := .Values.settings.auth }}
{{- $all := dict }}
{{- if .Values.settings.default_route }}
{{- $_ := set $all "settings.auth" $auth }}
{{- end }}
{{- range $number, $route := .Values.settings.routes }}
{{- $_ := set $all (printf "settings.routes[%d]" $number) $route }}
{{- end }}
{{- range $where, $route := $all }}
{{- with include "aurora-bridge.routeAuth" (dict "route" $route "auth" $auth) | fromJson }}
{{- if not (or .tokens .basic .anonymous) }}
{{ $where }}: no credentials, so that anybody could deliver. Put a token into a secret and name it: tokens: {existingSecret: NAME, key: KEY}; or basic likewise; or allow it explicitly: allow_anonymous: true.
{{- end }}
{{- end }}
{{- end }}
{{- end }}
