{{/* What the pods of the daemon, and those of the Jobs that run its commands, have in common. */}}

{{/* Metadata of a pod; `component` tells the daemon's from the Jobs'. The chart's own labels and annotations win. */}}
{{- define "aurora-bridge.podMetadata" -}}
{{- $own := include "aurora-bridge.selectorLabels" .root | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/component" .component }}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion }}
labels:
  {{- merge $own .root.Values.podLabels .root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (default dict .annotations) .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What the daemon may need to end, and the margin: a number of seconds. 10 are for Kafka, the index and the spool. */}}
{{- define "aurora-bridge.gracePeriod" -}}
{{- $settings := .Values.settings }}
{{- addf $settings.ingress.shutdown_pause_seconds $settings.deadlines.answer_seconds 10 .Values.terminationMarginSeconds | ceil | int64 }}
{{- end }}

{{- define "aurora-bridge.podCommon" -}}
serviceAccountName: {{ include "aurora-bridge.serviceAccountName" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with ternary (omit .Values.podSecurityContext "runAsUser" "runAsGroup" "fsGroup") .Values.podSecurityContext .Values.openshift }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Whatever brings files that the settings name; one that stays beside (restartPolicy: Always) ends with a Job. */}}
{{- define "aurora-bridge.initContainers" -}}
{{- with .Values.initContainers -}}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The last of the daemon's init containers: what is wrong with the settings, before anything of them is in force. */}}
{{- define "aurora-bridge.configContainer" -}}
- name: config
  {{- include "aurora-bridge.containerCommon" . | nindent 2 }}
  args: [config]
  volumeMounts:
    {{- include "aurora-bridge.mountsCommon" . | nindent 4 }}
{{- end }}

{{- define "aurora-bridge.containerCommon" -}}
image: {{ include "aurora-bridge.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
env:
  - name: AURORA_BRIDGE_CONFIG
    value: /etc/aurora-bridge/aurora-bridge.toml
  # Not in the file, because an image may have set them, and the environment wins.
  - name: AURORA_BRIDGE_STATE_DIR
    value: /var/lib/aurora-bridge
  - name: AURORA_BRIDGE_INGRESS__HOST
    value: {{ .Values.listenAddress | quote }}
  - name: AURORA_BRIDGE_ADMIN__HOST
    value: {{ .Values.listenAddress | quote }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.mountsCommon" -}}
- name: settings
  mountPath: /etc/aurora-bridge
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "aurora-bridge.volumesCommon" -}}
{{ include "aurora-bridge.settingsVolume" . }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The pod template of the daemon. Only a changed settings file rolls the pods: changed secrets are taken over. */}}
{{- define "aurora-bridge.podTemplate" -}}
{{- $annotations := dict "kubectl.kubernetes.io/default-container" "aurora-bridge" }}
metadata:
  {{- include "aurora-bridge.podMetadata" (dict "root" . "component" "bridge" "annotations" $annotations) | nindent 2 }}
spec:
  {{- include "aurora-bridge.podCommon" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ include "aurora-bridge.gracePeriod" . }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- $selector := dict "labelSelector" (dict "matchLabels" (include "aurora-bridge.podSelector" . | fromYaml)) }}
    {{- range .Values.topologySpreadConstraints }}
    - {{- merge (dict) . $selector | toYaml | nindent 6 }}
    {{- end }}
  {{- end }}
  {{- include "aurora-bridge.initContainers" . | default "initContainers:" | nindent 2 }}
    {{- include "aurora-bridge.configContainer" . | nindent 4 }}
  containers:
    - name: aurora-bridge
      {{- include "aurora-bridge.containerCommon" . | nindent 6 }}
      args: [serve]
      ports:
        - name: webhooks
          containerPort: 8080
        - name: admin
          containerPort: 9090
      {{- range $probe, $path := dict "startupProbe" "/livez" "livenessProbe" "/livez" "readinessProbe" "/readyz" }}
      {{ $probe }}:
        httpGet:
          path: {{ $path }}
          port: admin
        {{- with get $.Values $probe }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- with .Values.lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: state
          mountPath: /var/lib/aurora-bridge
        {{- include "aurora-bridge.mountsCommon" . | nindent 8 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "aurora-bridge.volumesCommon" . | nindent 4 }}
    {{- if not .Values.persistence.enabled }}
    - name: state
      emptyDir:
        sizeLimit: {{ .Values.persistence.size }}
    {{- end }}
{{- end }}
