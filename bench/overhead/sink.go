package main

import (
	"context"
	"net"
	"sync/atomic"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
)

// sink is a collector that counts what it gets, and forgets it.
type sink struct {
	ptraceotlp.UnimplementedGRPCServer
	endpoint string
	spans    atomic.Int64
	server   *grpc.Server
}

func listen() (*sink, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{endpoint: "http://" + listener.Addr().String(), server: grpc.NewServer()}
	ptraceotlp.RegisterGRPCServer(s.server, s)
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

func (s *sink) stop() { s.server.Stop() }

func (s *sink) Export(_ context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	s.spans.Add(int64(r.Traces().SpanCount()))
	return ptraceotlp.NewExportResponse(), nil
}
