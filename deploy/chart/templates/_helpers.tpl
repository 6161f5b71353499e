{{- define "chandler.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* A release named chandler gives objects named chandler; any other gives RELEASE-chandler. 52 leaves room for suffixes. */}}
{{- define "chandler.fullname" -}}
{{- $name := include "chandler.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Immutable in a Deployment: never add to these. */}}
{{- define "chandler.selectorLabels" -}}
app.kubernetes.io/name: {{ include "chandler.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "chandler.labels" -}}
{{ include "chandler.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "chandler.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "chandler.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{- default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "chandler.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{/* The port of an ADDRESS:PORT. Ports are said once, in the configuration; everything else follows. */}}
{{- define "chandler.port" -}}
{{- . | splitList ":" | last -}}
{{- end }}

{{/* The name of the listener with a given index: grpc-xds, grpc-xds-1, … The prefix tells Istio that it is gRPC. */}}
{{- define "chandler.listenerName" -}}
grpc-xds{{ if . }}-{{ . }}{{ end }}
{{- end }}

{{/* The restricted pod security standard, spelt out. */}}
{{- define "chandler.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "chandler.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/*
Outside the mesh in every mode. Chandler feeds the control plane, so it may not need the control plane to start;
and istiod dials it in plain text. The annotation is for Istio up to 1.10, which does not read the label.
*/}}
{{- define "chandler.outsideMeshLabels" -}}
sidecar.istio.io/inject: "false"
istio.io/dataplane-mode: none
{{- end }}

{{- define "chandler.outsideMeshAnnotations" -}}
sidecar.istio.io/inject: "false"
{{- end }}

{{/* Of the pod that helm test starts. Not the selector labels: the Service must not send anyone there. */}}
{{- define "chandler.testLabels" -}}
app.kubernetes.io/name: {{ include "chandler.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Where the state is kept; nothing where it is not. */}}
{{- define "chandler.stateDir" -}}
{{- with .Values.config.state }}{{ if kindIs "map" . }}{{ .dir }}{{ end }}{{ end }}
{{- end }}
