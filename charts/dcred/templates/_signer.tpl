{{- define "dcred.signerName" -}}
{{- include "dcred.fullname" . }}-signer
{{- end }}

{{- define "dcred.signerSelectorLabels" -}}
app.kubernetes.io/name: {{ include "dcred.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
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

{{/* Key URIs of the signer, one a line. */}}
{{- define "dcred.signerKeyUris" -}}
{{- range .Values.signer.certificates }}{{ range $uri := .keys }}
{{ $uri }}
{{- end }}{{ end }}
{{- end }}

{{/* PKCS#11 needs the variant of the image that has the add-on for it: `of` is the component, `uris` its keys, one a line. */}}
{{- define "dcred.imageForKeys" -}}
{{- $image := .root.Values.image -}}
{{- $given := (get .root.Values .of).image -}}
{{- $isVariant := regexMatch "(?m)^pkcs11:" .uris -}}
{{- if $given.digest -}}
{{- printf "%s@%s" $image.repository $given.digest }}
{{- else if $given.tag -}}
{{- printf "%s:%s" $image.repository $given.tag }}
{{- else if not $isVariant -}}
{{- include "dcred.image" .root }}
{{- else if $image.digest -}}
{{- fail (printf "%s.image.digest: with image.digest, set the digest of the image whose tag ends in -pkcs11 too: it has what a pkcs11: key needs" .of) -}}
{{- else -}}
{{- printf "%s:%s-pkcs11" $image.repository (default .root.Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{- define "dcred.signerImage" -}}
{{- include "dcred.imageForKeys" (dict "root" . "of" "signer" "uris" (include "dcred.signerKeyUris" .)) }}
{{- end }}

{{/* Where the backends of the keys find their services. */}}
{{- define "dcred.signerKeyEnv" -}}
{{- with .Values.signer.aws.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.signer.vault }}
{{- $env := dict "VAULT_ADDR" .address "VAULT_NAMESPACE" .namespace "TRANSIT_SECRET_ENGINE_PATH" .transitPath }}
{{- if .ca }}{{ $_ := set $env "VAULT_CACERT" "/etc/dcred/signer/vault-ca.crt" }}{{ end }}
{{- if .role }}
{{- $_ := set $env "VAULT_KUBERNETES_ROLE" .role }}
{{- $_ := set $env "VAULT_KUBERNETES_MOUNT" .authPath }}
{{- $_ := set $env "VAULT_KUBERNETES_TOKEN_FILE" "/etc/dcred/vault/token" }}
{{- end }}
{{- range $name, $value := $env }}
{{- if $value }}
- name: {{ $name | quote }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.signer.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dcred.checkSignerKeys" -}}
{{- $given := list -}}
{{- range .Values.signer.extraEnv }}{{ $given = append $given .name }}{{ end -}}
{{- range $from := .Values.signer.certificates -}}
{{- range $name, $uri := $from.keys -}}
{{- if has $name ($from.names | default list) -}}
{{- fail (printf "signer.certificates: %q of namespace %q is in names and in keys: expected one of them" $name $from.namespace) -}}
{{- end -}}
{{- if contains "pin-value" $uri -}}
{{- fail (printf "signer.certificates: the PIN in the key of %q would be in a ConfigMap: put it into a Secret, name that by signer.pkcs11.pinSecret, and write pin-source=/etc/dcred/pin/KEY" $name) -}}
{{- end -}}
{{- if and (hasPrefix "hashivault:" $uri) (not $.Values.signer.vault.address) (not (has "VAULT_ADDR" $given)) -}}
{{- fail (printf "signer.vault.address: needed for the key of %q" $name) -}}
{{- end -}}
{{- if and (contains "/etc/dcred/pin/" $uri) (not $.Values.signer.pkcs11.pinSecret) -}}
{{- fail (printf "signer.pkcs11.pinSecret: needed for the key of %q, whose PIN is in /etc/dcred/pin" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Whether two pods would write into one volume for the audit log. Those of other types go with their pod. */}}
{{- define "dcred.signerLogIsShared" -}}
{{- if omit .Values.signer.auditLog.volume "emptyDir" "ephemeral" "csi" }}true{{ end }}
{{- end }}

{{/* What would make the modes pointless is refused: an operator that may read the keys all the same. */}}
{{- define "dcred.checkSigner" -}}
{{- if and .Values.signer.clientCertSecret (not .Values.signer.url) -}}
{{- fail "signer.clientCertSecret: for a signer elsewhere only, whose address is signer.url; one in this release knows its operator by a token" -}}
{{- end -}}
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
{{- include "dcred.checkSignerKeys" . -}}
{{- if and (include "dcred.signerLogIsShared" .) (gt (int .Values.signer.replicas) 1) -}}
{{- fail "signer.auditLog.volume: one log has one writer, and all replicas would write to this volume: set signer.replicas to 1, or use an ephemeral volume" -}}
{{- end -}}
{{- if has .Release.Namespace .Values.namespaces -}}
{{- fail (printf "namespaces: the operator must not serve its own namespace %q where the signer runs: it could read the signer's Secrets" .Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- end }}
