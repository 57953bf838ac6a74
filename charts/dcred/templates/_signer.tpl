{{- define "dcred.signerName" -}}
{{- include "dcred.fullname" . }}-signer
{{- end }}

{{- define "dcred.signerSelectorLabels" -}}
app.kubernetes.io/name: {{ include "dcred.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: signer
{{- end }}

{{- define "dcred.signerLabels" -}}
{{ include "dcred.labels" . }}
app.kubernetes.io/component: signer
{{- end }}

{{- define "dcred.signerServiceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dcred.signerName" .) .Values.signer.serviceAccountName }}
{{- else -}}
{{- required "signer.serviceAccountName: needed where serviceAccount.create is false, and never the operator's" .Values.signer.serviceAccountName }}
{{- end }}
{{- end }}

{{- define "dcred.signerUser" -}}
'system:serviceaccount:{{ .Release.Namespace }}:{{ include "dcred.signerServiceAccountName" . }}'
{{- end }}

{{- define "dcred.signerTlsSecret" -}}
{{- default (printf "%s-tls" (include "dcred.signerName" .)) .Values.signer.tls.secretName }}
{{- end }}

{{/* Where the operator finds the signer; empty: it signs in its own process. */}}
{{- define "dcred.signerUrl" -}}
{{- if .Values.signer.enabled -}}
https://{{ include "dcred.signerName" . }}.{{ .Release.Namespace }}.svc
{{- else -}}
{{- .Values.signer.url }}
{{- end }}
{{- end }}

{{/* What would make the modes pointless is refused: an operator that may read the keys all the same. */}}
{{- define "dcred.checkSigner" -}}
{{- if .Values.signer.enabled -}}
{{- if .Values.signer.url -}}
{{- fail "signer: set enabled (a signer in this release) or url (one elsewhere), not both" -}}
{{- end -}}
{{- if not .Values.namespaces -}}
{{- fail "signer.enabled: list the namespaces to serve (namespaces: [edge]); an operator that serves every namespace may read every Secret, the certificates' keys among them" -}}
{{- end -}}
{{- if not .Values.signer.certificates -}}
{{- fail "signer.enabled: list the certificates (signer.certificates: [{namespace: vault, names: [web-tls]}])" -}}
{{- end -}}
{{- range .Values.signer.certificates -}}
{{- if has .namespace $.Values.namespaces -}}
{{- fail (printf "signer.certificates: the operator serves namespace %q and may read its Secrets; keep certificates in a namespace that is not served" .namespace) -}}
{{- end -}}
{{- end -}}
{{- if has .Release.Namespace .Values.namespaces -}}
{{- fail (printf "namespaces: the operator must not serve its own namespace %q where the signer runs: it could read the signer's Secrets" .Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- end }}
