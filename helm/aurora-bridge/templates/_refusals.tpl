{{/*
Values that are each right by themselves, and together would lose events. Each part gives one line for each problem: which
value, what is wrong, what is expected, what to do. What holds between the daemon's own settings it checks itself: in the init
container `config`, and in CI as `helm template ... | aurora-bridge config -`.
*/}}

{{- define "aurora-bridge.refusals" -}}
{{- $problems := list }}
{{- range list "replaced" "image" "references" "credentials" "reach" "objects" }}
{{- $problems = concat $problems (include (printf "aurora-bridge.refusals.%s" .) $ | splitList "\n") }}
{{- end }}
{{- with $problems | compact }}
{{- fail (printf "\n\n%s\n" (join "\n" .)) }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.refusals.image" -}}
{{- if not .Values.image.repository }}
image.repository: required, since no image of this project is published. Build it from the Dockerfile, push it to your registry, and set image.repository to its name there.
{{- end }}
{{- range .Values.extraEnv }}
{{- if hasPrefix "AURORA_BRIDGE_" (default "" .name) }}
extraEnv: {{ .name }} would override the settings file, unchecked. Put it below settings, by its name in docs/settings.md.
{{- end }}
{{- end }}
{{- end }}

{{/* What stands in values of an older chart. The schema lets it through, so that it is told here what took its place. */}}
{{- define "aurora-bridge.refusals.replaced" -}}
{{- range $old, $new := dict "replicas" "replicaCount" "sidecars" "extraContainers" }}
{{- if hasKey $.Values $old }}
{{ $old }}: it is called {{ $new }} now. Rename it.
{{- end }}
{{- end }}
{{- if hasKey .Values.ingress "path" }}
ingress.path: each host has its own paths now. Remove it, and write them as hosts: [{host: hooks.example.com, paths: [{path: {{ .Values.ingress.path }}}]}].
{{- end }}
{{- if hasKey .Values.settings.index "resend_in_progress" }}
settings.index.resend_in_progress: this setting is gone; `aurora-bridge resend begin` in each pod has taken its place, which needs no restart and ends by itself after 24 h. Remove it.
{{- end }}
{{- end }}

{{/* A reference names one place. */}}
{{- define "aurora-bridge.refusals.references" -}}
{{- $tables := dict "settings.ingress" .Values.settings.ingress "settings.kafka" .Values.settings.kafka "settings.auth" .Values.settings.auth "settings.aurora" .Values.settings.aurora }}
{{- range $number, $route := .Values.settings.routes }}
{{- $_ := set $tables (printf "settings.routes[%d]" $number) $route }}
{{- end }}
{{- range $where, $table := $tables }}
{{- range $name, $value := $table }}
{{- if and (kindIs "map" $value) $value }}
{{- $places := compact (list $value.existingSecret $value.existingConfigMap $value.file) }}
{{- if ne (len $places) 1 }}
{{ $where }}.{{ $name }}: invalid {{ toRawJson $value }}; expected one place: existingSecret with its key{{ if hasSuffix "_ca" $name }}, existingConfigMap with its key{{ end }}, or file. Take the others out, with null where another values file brings them.
{{- else if not (eq (empty $value.key) (not (empty $value.file))) }}
{{ $where }}.{{ $name }}: invalid {{ toRawJson $value }}; expected a key with existingSecret{{ if hasSuffix "_ca" $name }} or existingConfigMap{{ end }}, and none with file. Name the key in which the secret holds it.
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What would lose acknowledged events, is told to nobody, leads nowhere, or is no valid object. */}}
{{- define "aurora-bridge.refusals.objects" -}}
{{- if and .Values.settings.embedded (ne (int .Values.replicaCount) 1) }}
replicaCount: {{ .Values.replicaCount }} with settings.embedded; expected 1, because each replica would keep a log of its own with a part of the events. Set replicaCount=1, or name Kafka.
{{- end }}
{{- $units := dict "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- $size := .Values.persistence.size }}
{{- $bytes := mulf (float64 (regexFind "^[0-9]+" $size)) (float64 (get $units (regexFind "[A-Z]i$" $size))) }}
{{- $spool := ternary .Values.settings.spool.max_bytes 0 .Values.persistence.enabled }}
{{- $wanted := mulf 1.5 (addf (float64 $spool) (float64 .Values.settings.index.max_bytes)) }}
{{- if lt $bytes $wanted }}
persistence.size: invalid {{ $size }}; expected {{ divf $wanted 1048576 | ceil | int64 }}Mi or more, one and a half times {{ if $spool }}settings.spool.max_bytes and settings.index.max_bytes together{{ else }}settings.index.max_bytes{{ end }}, because a volume that is full cannot even be emptied. Make it larger, or these smaller.
{{- end }}
{{- if and .Values.autoscaling.enabled .Values.persistence.enabled }}
autoscaling.enabled: true with persistence.enabled; scaling down would strand acknowledged events on the volumes of the pods that go. Leave autoscaling off and set replicaCount, or persistence.enabled=false, where Kafka away means 503.
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
autoscaling.maxReplicas: invalid {{ .Values.autoscaling.maxReplicas }}; expected {{ .Values.autoscaling.minReplicas }} or more, as autoscaling.minReplicas has it. Raise it, or lower minReplicas.
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
ingress.hosts: required with ingress.enabled. Name the hosts that Aurora sends to, as - host: hooks.example.com.
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
httpRoute.parentRefs: required with httpRoute.enabled. Name its gateway, as - name: gateway, with its namespace if it is in another.
{{- end }}
{{- if .Values.probe.enabled }}
{{- if not .Values.probe.prober }}
probe.prober: required with probe.enabled. Name the blackbox exporter, such as blackbox-exporter.monitoring:9115.
{{- end }}
{{- if not (include "aurora-bridge.publicUrl" .) }}
probe.enabled: true needs a public URL to ask. Set settings.ingress.public_url, or the hosts of ingress or httpRoute.
{{- end }}
{{- end }}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
serviceMonitor.enabled: true with podMonitor.enabled; each pod would be read twice, and alerts would count everything twice. Leave one of the two out.
{{- end }}
{{- $alerts := list }}
{{- range $path, $_ := .Files.Glob "files/rules/*.yaml" }}
{{- $alerts = concat $alerts (regexFindAll "(?m)^ *- alert: *[A-Za-z]+" ($.Files.Get $path) -1) }}
{{- end }}
{{- range $name, $_ := .Values.prometheusRule.disabled }}
{{- if not (or (empty $alerts) (regexMatch (printf ": *%s(;|$)" $name) (join ";" $alerts))) }}
prometheusRule.disabled: {{ $name }} is no alert's name. docs/runbooks/README.md has their names.
{{- end }}
{{- end }}
{{- range $value, $files := dict "prometheusRule" "files/rules/*.yaml" "dashboards" "files/dashboards/*.json" }}
{{- if and (get $.Values $value).enabled (not ($.Files.Glob $files)) }}
{{ $value }}.enabled: true, but this copy of the chart has no {{ $files }}: what copied it did not follow the symbolic links. Package the chart from a checkout that has them, helm package helm/aurora-bridge, and install the package.
{{- end }}
{{- end }}
{{- end }}
