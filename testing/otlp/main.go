// A receiver of OTLP over HTTP: decodes by OpenTelemetry's own Go types, refuses what they do not know, and prints one line of JSON for each
// export, which begins with the path and the headers that the test looks at.
//
//	otlp PORT
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

type line struct {
	Path          string          `json:"path"`
	ContentType   string          `json:"contentType"`
	Authorization string          `json:"authorization"`
	Unknown       int             `json:"unknown"`
	Traces        json.RawMessage `json:"traces"`
}

func main() {
	output := json.NewEncoder(os.Stdout)
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		// An ExportTraceServiceRequest has the fields of TracesData, in the same order.
		var traces trace.TracesData
		if err == nil {
			err = proto.Unmarshal(body, &traces)
		}
		if err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		text, err := protojson.Marshal(&traces)
		if err != nil {
			http.Error(response, err.Error(), http.StatusInternalServerError)
			return
		}
		header := request.Header
		_ = output.Encode(line{request.URL.Path, header.Get("Content-Type"), header.Get("Authorization"), len(traces.ProtoReflect().GetUnknown()), text})
		response.Header().Set("Content-Type", "application/x-protobuf")
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
	os.Exit(1)
}
