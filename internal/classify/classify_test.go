package classify_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/asyncinspect/asyncinspect/internal/classify"
	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

func TestWhichSpansAreTasksAndInWhichState(t *testing.T) {
	const none = "none"
	str := func(s string) func(pcommon.Map) { return func(m pcommon.Map) { m.PutStr(taskspan.TaskState, s) } }
	for i, c := range []struct {
		kinds  []string
		roots  bool
		kind   ptrace.SpanKind
		root   bool
		told   func(pcommon.Map) // nil: nothing
		failed bool
		want   taskspan.State
	}{
		{classify.DefaultKinds, true, ptrace.SpanKindServer, false, nil, false, taskspan.Completed},
		{classify.DefaultKinds, true, ptrace.SpanKindConsumer, false, nil, true, taskspan.Failed},
		{classify.DefaultKinds, true, ptrace.SpanKindClient, true, nil, false, taskspan.Completed},
		{classify.DefaultKinds, true, ptrace.SpanKindClient, false, nil, false, none},
		{[]string{"consumer"}, false, ptrace.SpanKindServer, true, nil, false, none},
		{[]string{"consumer"}, false, ptrace.SpanKindConsumer, true, nil, true, taskspan.Failed},
		{[]string{"producer", "internal"}, false, ptrace.SpanKindProducer, false, nil, false, taskspan.Completed},
		{[]string{"producer", "internal"}, false, ptrace.SpanKindInternal, false, nil, false, taskspan.Completed},
		{[]string{"producer", "internal"}, false, ptrace.SpanKindUnspecified, false, nil, false, none},
		{[]string{"asleep"}, false, ptrace.SpanKindUnspecified, false, nil, false, none},
		{nil, false, ptrace.SpanKind(1 << 20), false, nil, false, none},
		{nil, false, ptrace.SpanKindServer, false, str("cancelled"), true, taskspan.Cancelled},
		{nil, false, ptrace.SpanKindServer, false, str("lost"), false, taskspan.Lost},
		{nil, false, ptrace.SpanKindServer, false, str("blocked"), false, taskspan.Completed},
		{nil, false, ptrace.SpanKindServer, false, str("deadlocked"), true, taskspan.Failed},
		{nil, false, ptrace.SpanKindServer, false, str(""), true, taskspan.Failed},
		{nil, false, ptrace.SpanKindServer, false, func(m pcommon.Map) { m.PutInt(taskspan.TaskState, 3) }, false, taskspan.Completed},
	} {
		span := ptrace.NewSpan()
		span.SetKind(c.kind)
		if !c.root {
			span.SetParentSpanID([8]byte{7})
		}
		if c.told != nil {
			c.told(span.Attributes())
		}
		if c.failed {
			span.Status().SetCode(ptrace.StatusCodeError)
		}
		told, tells := span.Attributes().Get(taskspan.TaskState)
		state, is := classify.NewRule(c.kinds, c.roots).Task(span, told, tells)
		if !is {
			require.Empty(t, state, "case %d", i)
			state = none
		}
		require.Equal(t, c.want, state, "case %d", i)
	}
}

// Whoever comes after a task_state with a rule of its own goes by what that has decided.
func TestARuleHoldsForAllThatComeAfterIt(t *testing.T) {
	server := ptrace.NewSpan()
	server.SetKind(ptrace.SpanKindServer)
	for _, c := range []struct {
		first  classify.Rule
		marked bool
	}{
		{classify.Default(), false},
		{classify.NewRule([]string{"consumer", "server"}, true), false},
		{classify.NewRule([]string{"consumer"}, false), true},
		{classify.NewRule([]string{"server", "consumer"}, false), true},
		{classify.NewRule([]string{"server", "consumer", "client"}, true), true},
		{classify.Rule{}, true},
	} {
		scope := pcommon.NewInstrumentationScope()
		c.first.Mark(scope)
		_, is := classify.Default().In(scope).Task(server, pcommon.Value{}, false)
		require.Equal(t, !c.marked, is, fmt.Sprint(c.first))
		told := pcommon.NewValueStr("completed")
		_, is = classify.Default().In(scope).Task(server, told, true)
		require.True(t, is, "what carries a state is a task")
	}
	for _, mark := range []pcommon.Value{pcommon.NewValueStr("true"), pcommon.NewValueBool(false)} {
		scope := pcommon.NewInstrumentationScope()
		mark.CopyTo(scope.Attributes().PutEmpty(taskspan.TasksMarked))
		_, is := classify.Default().In(scope).Task(server, pcommon.Value{}, false)
		require.True(t, is)
	}
}

func TestScopes(t *testing.T) {
	for name, want := range map[string]classify.Scope{
		taskspan.ScopeReport: classify.Reports, taskspan.ScopeDetector: classify.Detector, "app": classify.Application, "": classify.Application,
	} {
		scope := pcommon.NewInstrumentationScope()
		scope.SetName(name)
		require.Equal(t, want, classify.ScopeOf(scope), name)
	}
}

func TestTheKindsOfAConfiguration(t *testing.T) {
	for _, name := range []string{"server", "consumer", "client", "producer", "internal"} {
		require.True(t, classify.IsKind(name), name)
	}
	require.False(t, classify.IsKind("Server"))
	require.False(t, classify.IsKind("unspecified"))
}
