package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const ecdsaP256 = 0x0403

type leaf struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	chain       []byte
	sha256      string
}

func readLeaf(secret *corev1.Secret) (*leaf, error) {
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("expected an ECDSA key")
	}
	sum := sha256.Sum256(pair.Leaf.Raw)
	return &leaf{certificate: pair.Leaf, key: key, chain: secret.Data["tls.crt"], sha256: hex.EncodeToString(sum[:])}, nil
}

// issue makes a key and a delegated credential for it (RFC 9345 section 4), and verifies it.
func (l *leaf) issue(now time.Time) (key []byte, credential []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	body := binary.BigEndian.AppendUint32(nil, uint32(now.Add(lifetime).Sub(l.certificate.NotBefore)/time.Second))
	body = binary.BigEndian.AppendUint16(body, ecdsaP256)
	body = append(body, byte(len(spki)>>16), byte(len(spki)>>8), byte(len(spki)))
	body = binary.BigEndian.AppendUint16(append(body, spki...), ecdsaP256)
	input := append(bytes.Repeat([]byte{' '}, 64), "TLS, server delegated credentials\x00"...)
	digest := sha256.Sum256(append(append(input, l.certificate.Raw...), body...))
	signature, err := ecdsa.SignASN1(rand.Reader, l.key, digest[:])
	if err != nil {
		return nil, nil, err
	}
	if !ecdsa.VerifyASN1(&l.key.PublicKey, digest[:], signature) {
		return nil, nil, errors.New("the credential does not verify")
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	credential = append(binary.BigEndian.AppendUint16(body, uint16(len(signature))), signature...)
	return der, credential, nil
}

func (l *leaf) secret(pod *metav1.PartialObjectMetadata, name string) (*corev1.Secret, error) {
	now := time.Now()
	key, credential, err := l.issue(now)
	if err != nil {
		return nil, err
	}
	armour := func(label string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
	}
	line := base64.StdEncoding.EncodeToString(credential)
	fizz := "-----BEGIN SERVER DELEGATED CREDENTIAL-----\n" + line + "\n-----END SERVER DELEGATED CREDENTIAL-----\n"
	at := func(after time.Duration) string { return now.Add(after).UTC().Format(time.RFC3339) }
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace,
			Name:      name,
			Labels:    map[string]string{managedBy: manager, "dcred.dev/delegated-credential": "web"},
			Annotations: map[string]string{
				podName:                   pod.Name,
				"dcred.dev/pod-uid":       string(pod.UID),
				"dcred.dev/issued-at":     at(0),
				"dcred.dev/expires-at":    at(lifetime),
				"dcred.dev/renew-at":      at(lifetime / 2),
				leafHash:                  l.sha256,
				"dcred.dev/chain-sha256":  l.sha256,
				"dcred.dev/usage":         "Server",
				"dcred.dev/key-algorithm": "ECDSAP256",
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}},
		},
		Type: "dcred.dev/delegated-credential",
		Data: map[string][]byte{
			"tls.crt":  l.chain,
			"dc.key":   armour("PRIVATE KEY", key),
			"dc.bin":   credential,
			"dc.hex":   []byte(hex.EncodeToString(credential) + "\n"),
			"dc.pem":   armour("DELEGATED CREDENTIAL", credential),
			"fizz.pem": append(append([]byte(fizz), armour("SERVER DC PRIVATE KEY", key)...), l.chain...),
		},
	}, nil
}
