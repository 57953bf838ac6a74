{{- define "dcred.issuerName" -}}
{{- include "dcred.fullname" . }}-issuer
{{- end }}

{{- define "dcred.issuerSelectorLabels" -}}
app.kubernetes.io/name: {{ include "dcred.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: issuer
{{- end }}

{{- define "dcred.issuerLabels" -}}
{{ include "dcred.labels" . }}
app.kubernetes.io/component: issuer
{{- end }}

{{/* Whoever has this account can make certificates by every CA of issuer.authorities: it is never shared with another component. */}}
{{- define "dcred.issuerServiceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dcred.issuerName" .) .Values.issuer.serviceAccountName }}
{{- else -}}
{{- required "issuer.serviceAccountName: needed where serviceAccount.create is false, and never the operator's" .Values.issuer.serviceAccountName }}
{{- end }}
{{- end }}

{{- define "dcred.issuerUser" -}}
'system:serviceaccount:{{ .Release.Namespace }}:{{ include "dcred.issuerServiceAccountName" . }}'
{{- end }}
