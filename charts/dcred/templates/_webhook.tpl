{{- define "dcred.webhookName" -}}
{{- include "dcred.fullname" . }}-webhook
{{- end }}

{{/* The configuration is cluster-scoped, and its name, unlike a role's, cannot contain ":". */}}
{{- define "dcred.webhookConfigurationName" -}}
{{- printf "%s.%s" (include "dcred.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "dcred.webhookSelectorLabels" -}}
app.kubernetes.io/name: {{ include "dcred.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: webhook
{{- end }}

{{- define "dcred.webhookLabels" -}}
{{ include "dcred.labels" . }}
app.kubernetes.io/component: webhook
{{- end }}

{{- define "dcred.webhookServiceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dcred.webhookName" .) .Values.webhook.serviceAccountName }}
{{- else -}}
{{- default "default" .Values.webhook.serviceAccountName }}
{{- end }}
{{- end }}
