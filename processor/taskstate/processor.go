package taskstate

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
)

type taskState struct {
	next consumer.Traces
}

func newProcessor(_ processor.Settings, _ *Config, next consumer.Traces) (*taskState, error) {
	return &taskState{next: next}, nil
}

func (*taskState) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

func (*taskState) Start(context.Context, component.Host) error { return nil }

func (*taskState) Shutdown(context.Context) error { return nil }

func (p *taskState) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	return p.next.ConsumeTraces(ctx, td)
}
