module dcred.dev/testing/certmanager

go 1.25.0

require github.com/cert-manager/cert-manager v1.20.3
