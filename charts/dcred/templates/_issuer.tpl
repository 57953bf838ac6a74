{{- define "dcred.issuerName" -}}
{{- include "dcred.fullname" . }}-issuer
{{- end }}

{{- define "dcred.issuerSelectorLabels" -}}
app.kubernetes.io/name: {{ include "dcred.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
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

{{/* Key URIs of the issuer, one a line. */}}
{{- define "dcred.issuerKeyUris" -}}
{{- range .Values.issuer.caKeys }}
{{ .uri }}
{{- end }}
{{- end }}

{{- define "dcred.issuerImage" -}}
{{- include "dcred.imageForKeys" (dict "root" . "of" "issuer" "uris" (include "dcred.issuerKeyUris" .)) }}
{{- end }}

{{- define "dcred.checkIssuerKeys" -}}
{{- $given := list -}}
{{- range concat (.Values.extraEnv | default list) (.Values.issuer.extraEnv | default list) }}{{ $given = append $given .name }}{{ end -}}
{{- $names := list -}}
{{- range .Values.issuer.caKeys -}}
{{- if has .name $names -}}
{{- fail (printf "issuer.caKeys: %q is there twice: which key is meant?" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- if contains "pin-value" .uri -}}
{{- fail (printf "issuer.caKeys: the PIN in the key %q would be in the Deployment: put it into a Secret, mount that by issuer.extraVolumes, and write pin-source=/FILE" .name) -}}
{{- end -}}
{{- if and (hasPrefix "hashivault:" .uri) (not (has "VAULT_ADDR" $given)) -}}
{{- fail (printf "issuer.caKeys: the key %q needs VAULT_ADDR in issuer.extraEnv" .name) -}}
{{- end -}}
{{- end -}}
{{- end }}
