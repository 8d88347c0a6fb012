{{/*
What must hold between values that are each right by themselves, so that no settings file is rendered which the daemon
refuses (`settings/checks.py`, `settings/security.py`, `routing.py`), and no objects that would lose events. Each part
gives one line for each problem: which value, what came, what is allowed, what to do. `_routes.tpl`, `_reach.tpl` and
`_credentials.tpl` have those of routes.
*/}}

{{- define "aurora-bridge.refusals" -}}
{{- $problems := include "aurora-bridge.refusals.replaced" . | splitList "\n" | compact }}
{{- with $problems }}
{{- fail (printf "\n\n%s\n" (join "\n" .)) }}
{{- end }}
{{- range list "image" "references" "eventLog" "deadlines" "credentials" "tls" "aurora" "kafka" "routes" "reach" "events" "objects" }}
{{- $problems = concat $problems (include (printf "aurora-bridge.refusals.%s" .) $ | splitList "\n") }}
{{- end }}
{{- with $problems | compact }}
{{- fail (printf "\n\n%s\n" (join "\n" .)) }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.refusals.image" -}}
{{- if not .Values.image.repository }}
image.repository: nothing came, and no image of this project is published. Build it from the Dockerfile, push it to your registry, and set image.repository to its name there.
{{- end }}
{{- range .Values.extraEnv }}
{{- if hasPrefix "AURORA_BRIDGE_" (default "" .name) }}
extraEnv: {{ .name }} came; the environment would win over the settings file, unchecked. Put it below settings, by its name in docs/settings.md.
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
{{ $where }}.{{ $name }}: {{ toRawJson $value }} came; allowed is one place: existingSecret with its key{{ if hasSuffix "_ca" $name }}, existingConfigMap with its key{{ end }}, or file. Take the others out, with null where another values file brings them.
{{- else if not (eq (empty $value.key) (not (empty $value.file))) }}
{{ $where }}.{{ $name }}: {{ toRawJson $value }} came; allowed is a key with existingSecret{{ if hasSuffix "_ca" $name }} or existingConfigMap{{ end }}, and none with file. Name the key in which the secret holds it.
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.refusals.eventLog" -}}
{{- $settings := .Values.settings }}
{{- $brokers := $settings.kafka.bootstrap_servers }}
{{- if and $settings.embedded $brokers }}
settings.embedded: true came together with settings.kafka.bootstrap_servers, {{ $brokers | quote }}; allowed is one of the two. Leave embedded out to publish to Kafka, or the brokers to keep the events in the pod's own log.
{{- else if not (or $settings.embedded $brokers) }}
settings.kafka.bootstrap_servers: nothing came, so the events have no place. Set it to your brokers, as in kafka-1:9092,kafka-2:9092; or ask for the pod's own log in so many words: settings.embedded=true, with replicaCount=1.
{{- end }}
{{- if $settings.embedded }}
{{- if ne (int .Values.replicaCount) 1 }}
replicaCount: {{ .Values.replicaCount }} came with settings.embedded; allowed is 1, because each replica would keep a log of its own with a part of the events. Set replicaCount=1, or name Kafka.
{{- end }}
{{- if not .Values.persistence.enabled }}
persistence.enabled: false came with settings.embedded; the events would end with the pod. Leave it true, or name Kafka.
{{- end }}
{{- if .Values.topicsJob.enabled }}
topicsJob.enabled: true came with settings.embedded, where there are no topics. Leave it out.
{{- end }}
{{- if .Values.drain.claim }}
drain.claim: {{ .Values.drain.claim | quote }} came with settings.embedded; a volume is drained into Kafka. Name it in settings.kafka.bootstrap_servers, and leave embedded out.
{{- end }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.refusals.deadlines" -}}
{{- with .Values.settings.deadlines }}
{{- if not (and (lt (float64 .publish_seconds) (float64 .spool_seconds)) (lt (float64 .spool_seconds) (float64 .answer_seconds))) }}
settings.deadlines: publish_seconds {{ .publish_seconds }}, spool_seconds {{ .spool_seconds }} and answer_seconds {{ .answer_seconds }} came; allowed is each less than the next. Put them in that order, or leave all three out for 3, 5 and 8.
{{- end }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.refusals.tls" -}}
{{- with .Values.settings.ingress }}
{{- if ne (empty .tls_certificate) (empty .tls_key) }}
settings.ingress: {{ ternary "tls_key came without tls_certificate" "tls_certificate came without tls_key" (empty .tls_certificate) }}; allowed is both or neither. Add the other, which may be in the same secret.
{{- end }}
{{- if and .proxy_protocol (empty .trusted_proxies) }}
settings.ingress.proxy_protocol: true came without trusted_proxies, so that nothing it says would be believed; allowed is true only with them. Name the proxy's addresses there.
{{- end }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.refusals.aurora" -}}
{{- with .Values.settings.aurora }}
{{- if and .tenant_id .partner_application_id }}
settings.aurora: tenant_id and partner_application_id came; allowed is one of the two. Leave the other out.
{{- else if ne (empty .api_token) (empty (or .tenant_id .partner_application_id)) }}
settings.aurora: {{ ternary "tenant_id or partner_application_id came without api_token" "api_token came without tenant_id or partner_application_id" (empty .api_token) }}; allowed is both or neither. Add the other.
{{- end }}
{{- if gt (regexFind ":[0-9]+$" (urlParse .api_url).host | trimPrefix ":" | default "443" | int) 65535 }}
settings.aurora.api_url: {{ .api_url }} came; allowed is a port up to 65535. Correct it.
{{- end }}
{{- if regexMatch "^http://" .api_url }}
{{- if not (regexMatch "^http://(localhost|127[.][0-9.]+)(:|/|$)" .api_url) }}
settings.aurora.api_url: {{ .api_url }} came; plain http is allowed on loopback only, since everybody on the way could read the API key. Write https.
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.refusals.kafka" -}}
{{- with .Values.settings.kafka }}
{{- range splitList "," .bootstrap_servers | compact }}
{{- $port := splitList ":" . | last | int }}
{{- if or (lt $port 1) (gt $port 65535) }}
settings.kafka.bootstrap_servers: {{ . }} came; allowed is a port from 1 to 65535. Correct it.
{{- end }}
{{- end }}
{{- $protocol := .security_protocol }}
{{- $sasl := dict "sasl_mechanism" .sasl_mechanism "sasl_username" .sasl_username "sasl_password" .sasl_password "sasl_token" .sasl_token "oauth_token_url" .oauth_token_url "oauth_client_id" .oauth_client_id "oauth_client_secret" .oauth_client_secret "oauth_client_authentication" (ne .oauth_client_authentication "basic") "oauth_scope" .oauth_scope "oauth_extensions" .oauth_extensions "oauth_ca" .oauth_ca "aws_region" .aws_region }}
{{- $tls := dict "tls_ca" .tls_ca "tls_certificate" .tls_certificate "tls_key" .tls_key "tls_check_hostname" (not .tls_check_hostname) }}
{{- if not (contains "SASL" $protocol) }}
{{- range $name, $value := $sasl }}
{{- if $value }}
settings.kafka.{{ $name }}: it came with security_protocol {{ $protocol }}, which does not use it. Set security_protocol to SASL_SSL or SASL_PLAINTEXT, or leave {{ $name }} out.
{{- end }}
{{- end }}
{{- else if not .sasl_mechanism }}
settings.kafka.sasl_mechanism: nothing came with security_protocol {{ $protocol }}. Set the one that the brokers' listener takes: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM.
{{- else }}
{{- $needed := list "sasl_username" "sasl_password" }}
{{- $optional := list }}
{{- if and (eq .sasl_mechanism "OAUTHBEARER") (or .oauth_token_url .oauth_client_id .oauth_client_secret) }}
{{- $needed = list "oauth_token_url" "oauth_client_id" "oauth_client_secret" }}
{{- $optional = list "oauth_client_authentication" "oauth_scope" "oauth_extensions" "oauth_ca" }}
{{- else if eq .sasl_mechanism "OAUTHBEARER" }}
{{- $needed = list "sasl_token" }}
{{- $optional = list "oauth_extensions" }}
{{- else if eq .sasl_mechanism "AWS_MSK_IAM" }}
{{- $needed = list "aws_region" }}
{{- end }}
{{- $takes := join " and " $needed }}
{{- if has "sasl_token" $needed }}
{{- $takes = "sasl_token (or oauth_token_url, oauth_client_id and oauth_client_secret)" }}
{{- end }}
{{- range $name, $value := omit $sasl "sasl_mechanism" }}
{{- if and (not (has $name $optional)) (ne (has $name $needed) (not (empty $value))) }}
settings.kafka.{{ $name }}: {{ ternary "nothing came" "it came" (empty $value) }} with sasl_mechanism {{ $sasl.sasl_mechanism }}, which takes {{ $takes }} and nothing of other mechanisms. Set just these.
{{- end }}
{{- end }}
{{- end }}
{{- $names := list "auth" }}
{{- range .oauth_extensions }}
{{- $name := splitList "=" . | first }}
{{- if has $name $names }}
settings.kafka.oauth_extensions: {{ $name }} came {{ ternary "and is the token's own" "twice" (eq $name "auth") }}; allowed is each name once, and not auth. Take it out.
{{- end }}
{{- $names = append $names $name }}
{{- end }}
{{- $port := regexFind ":[0-9]+$" (urlParse .oauth_token_url).host | trimPrefix ":" | default "443" | int }}
{{- if gt $port 65535 }}
settings.kafka.oauth_token_url: {{ .oauth_token_url }} came; allowed is a port up to 65535. Correct it.
{{- end }}
{{- if not (contains "SSL" $protocol) }}
{{- range $name, $value := $tls }}
{{- if $value }}
settings.kafka.{{ $name }}: it came with security_protocol {{ $protocol }}, which does not use it. Set security_protocol to SSL or SASL_SSL, or leave {{ $name }} out.
{{- end }}
{{- end }}
{{- end }}
{{- if and .tls_key (not .tls_certificate) }}
settings.kafka.tls_key: it came without tls_certificate; allowed is the two together. Add the certificate, or leave the key out.
{{- end }}
{{- end }}
{{- end }}

{{/* What is known better of events: nothing may hide what tells one event from the next (`event_types.py`). */}}
{{- define "aurora-bridge.refusals.events" -}}
{{- $catalogue := .Files.Get "files/catalogue.json" | fromJson }}
{{- $types := deepCopy $catalogue.events }}
{{- range $name, $known := .Values.settings.events }}
{{- $event := default $name (get $catalogue.legacy $name) }}
{{- $type := merge (dict) (pick $known "recurrence" "identifier" "state_attribute") (default (dict "recurrence" "signal") (get $types $event)) }}
{{- $_ := set $types $event $type }}
{{- if and (ne $type.recurrence "signal") (not $type.identifier) }}
settings.events.{{ $name }}: recurrence {{ $type.recurrence }} came, and nothing tells which attribute identifies the thing. Add identifier with its name, or leave recurrence out.
{{- else if and (eq (default "" $known.recurrence) "state") (not $type.state_attribute) (not (hasKey $catalogue.events $event)) }}
settings.events.{{ $name }}: recurrence state came, and nothing tells which attribute holds the state. Add state_attribute with its name, or leave recurrence out.
{{- end }}
{{- range $attribute := default list $known.volatile_attributes }}
{{- if and (ne $type.recurrence "signal") (has $attribute (list $type.identifier $type.state_attribute)) }}
settings.events.{{ $name }}.volatile_attributes: {{ $attribute }} came, and it tells one {{ $event }} from the next, which would be lost as a duplicate. Leave it out.
{{- end }}
{{- end }}
{{- end }}
{{- range $attribute := .Values.settings.index.volatile_attributes }}
{{- range $event, $type := $types }}
{{- if and (ne $type.recurrence "signal") (has $attribute (list $type.identifier $type.state_attribute)) }}
settings.index.volatile_attributes: {{ $attribute }} came, and it tells one {{ $event }} from the next, which would be lost as a duplicate. Leave it out; what is volatile for one event only stands below settings.events.
{{- break }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What would lose acknowledged events, or send nothing on. */}}
{{- define "aurora-bridge.refusals.objects" -}}
{{- $units := dict "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- $size := .Values.persistence.size }}
{{- $bytes := mulf (float64 (regexFind "^[0-9]+" $size)) (float64 (get $units (regexFind "[A-Z]i$" $size))) }}
{{- $wanted := mulf 1.5 (addf (float64 .Values.settings.spool.max_bytes) (float64 .Values.settings.index.max_bytes)) }}
{{- if and .Values.persistence.enabled (lt $bytes $wanted) }}
persistence.size: {{ $size }} came; allowed is {{ divf $wanted 1048576 | ceil | int64 }}Mi or more, one and a half times settings.spool.max_bytes and settings.index.max_bytes together, because a volume that is full cannot even be emptied. Make it larger, or these smaller.
{{- end }}
{{- with .Values.autoscaling }}
{{- if and .enabled $.Values.persistence.enabled }}
autoscaling.enabled: true came with persistence.enabled; scaling down would strand acknowledged events on the volumes of the pods that go. Leave autoscaling off and set replicaCount, or persistence.enabled=false, where Kafka away means 503.
{{- end }}
{{- if lt (int .maxReplicas) (int .minReplicas) }}
autoscaling.maxReplicas: {{ .maxReplicas }} came with minReplicas {{ .minReplicas }}; allowed is that or more. Raise it.
{{- end }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
ingress.hosts: nothing came with ingress.enabled. Name the host that Aurora sends to, as in [{host: hooks.example.com}].
{{- end }}
{{- if and .Values.httpRoute.enabled (not (and .Values.httpRoute.parentRefs .Values.httpRoute.hostnames)) }}
httpRoute: parentRefs or hostnames are missing with httpRoute.enabled. Name the gateway, as in [{name: public, namespace: gateways}], and the host that Aurora sends to.
{{- end }}
{{- if .Values.probe.enabled }}
{{- if not .Values.probe.prober }}
probe.prober: nothing came, with probe.enabled. Name the blackbox exporter, such as blackbox-exporter.monitoring:9115.
{{- end }}
{{- if not (include "aurora-bridge.publicUrl" .) }}
probe.enabled: true came, and no public URL to ask. Set settings.ingress.public_url, or the hosts of ingress or httpRoute.
{{- end }}
{{- end }}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
serviceMonitor.enabled: true came with podMonitor.enabled; each pod would be read twice, and alerts would count everything twice. Leave one of the two out.
{{- end }}
{{- $alerts := list }}
{{- range $path, $_ := .Files.Glob "files/rules/*.yaml" }}
{{- $alerts = concat $alerts (regexFindAll "(?m)^ *- alert: *[A-Za-z]+" ($.Files.Get $path) -1) }}
{{- end }}
{{- range $name, $_ := .Values.prometheusRule.disabled }}
{{- if not (or (empty $alerts) (regexMatch (printf ": *%s(;|$)" $name) (join ";" $alerts))) }}
prometheusRule.disabled: {{ $name }} came, and no alert is called that. docs/runbooks/README.md has their names.
{{- end }}
{{- end }}
{{- range $value, $files := dict "prometheusRule" "files/rules/*.yaml" "dashboards" "files/dashboards/*.json" }}
{{- if and (get $.Values $value).enabled (not ($.Files.Glob $files)) }}
{{ $value }}.enabled: true came, and this copy of the chart has no {{ $files }}: what copied it did not follow the symbolic links. Package the chart from a checkout that has them, helm package helm/aurora-bridge, and install the package.
{{- end }}
{{- end }}
{{- end }}
