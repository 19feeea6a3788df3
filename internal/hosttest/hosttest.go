// Package hosttest has what surrounds a processor in tests: a host that notes the
// health of its components, and a next component that refuses spans when it is told to.
package hosttest

import (
	"context"
	"slices"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Host notes the statuses that are reported to it. The zero value is ready.
type Host struct {
	Extensions map[component.ID]component.Component

	mu     sync.Mutex
	events []componentstatus.Status
}

var (
	_ component.Host           = (*Host)(nil)
	_ componentstatus.Reporter = (*Host)(nil)
)

// GetExtensions implements component.Host.
func (h *Host) GetExtensions() map[component.ID]component.Component { return h.Extensions }

// Report implements componentstatus.Reporter.
func (h *Host) Report(e *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e.Status())
}

// Statuses returns what was reported, in order.
func (h *Host) Statuses() []componentstatus.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

// Next is a next component that keeps what it is given, and refuses it while it has an
// error. The zero value is ready.
type Next struct {
	consumertest.TracesSink
	// Mutates makes it spoil what it is given, as components may that say so.
	Mutates bool

	mu       sync.Mutex
	err      error
	attempts int
}

var _ consumer.Traces = (*Next)(nil)

// Refuse makes it refuse spans with an error; nil: it takes them.
func (n *Next) Refuse(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

// Attempts returns how many times spans were offered.
func (n *Next) Attempts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.attempts
}

// Capabilities implements consumer.Traces.
func (n *Next) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: n.Mutates}
}

// ConsumeTraces implements consumer.Traces.
func (n *Next) ConsumeTraces(ctx context.Context, td ptrace.Traces) error {
	n.mu.Lock()
	n.attempts++
	err := n.err
	n.mu.Unlock()
	if err == nil {
		kept := ptrace.NewTraces()
		td.CopyTo(kept)
		err = n.TracesSink.ConsumeTraces(ctx, kept)
	}
	if n.Mutates {
		td.ResourceSpans().RemoveIf(func(ptrace.ResourceSpans) bool { return true })
	}
	return err
}
