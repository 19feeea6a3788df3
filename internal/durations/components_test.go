package durations_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"

	"github.com/asyncinspect/asyncinspect/exporter/csvrotate"
	"github.com/asyncinspect/asyncinspect/extension/inspector"
	"github.com/asyncinspect/asyncinspect/extension/ratelimiter"
	"github.com/asyncinspect/asyncinspect/internal/durations"
	"github.com/asyncinspect/asyncinspect/processor/adaptivesampler"
	"github.com/asyncinspect/asyncinspect/processor/deadlockdetector"
	"github.com/asyncinspect/asyncinspect/processor/taskstate"
)

// A duration that is written without a unit is refused in each field of each component,
// and one of a millisecond is not refused for that.
func TestEveryComponentRefusesDurationsWithoutAUnit(t *testing.T) {
	for _, factory := range []component.Factory{
		csvrotate.NewFactory(), inspector.NewFactory(), ratelimiter.NewFactory(),
		adaptivesampler.NewFactory(), deadlockdetector.NewFactory(), taskstate.NewFactory(),
	} {
		whole := confmap.New()
		require.NoError(t, whole.Marshal(factory.CreateDefaultConfig()))
		found := 0
		eachDuration(whole.ToStringMap(), func(field string, set func(any) map[string]any) {
			found++
			without, least := validate(t, factory, set(483)), validate(t, factory, set(durations.Least))
			require.ErrorContains(t, without, field+": is 483ns, which is below the minimum of 1ms", "%s", factory.Type())
			if least != nil {
				require.NotContains(t, least.Error(), field+": is 1ms, which is below", "%s", factory.Type())
			}
		})
		require.NotZero(t, found, "%s", factory.Type())
	}
}

func validate(t *testing.T, factory component.Factory, config map[string]any) error {
	cfg := factory.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(config).Unmarshal(cfg))
	return confmap.Validate(cfg)
}

// eachDuration calls visit for each duration below value. What visit gets sets it for as
// long as visit runs, and returns the whole configuration.
func eachDuration(root map[string]any, visit func(string, func(any) map[string]any)) {
	leaf := func(field string, value any, put func(any)) {
		if d, is := value.(time.Duration); is {
			visit(field, func(v any) map[string]any { put(v); return root })
			put(d)
		}
	}
	var below func(field string, value any)
	below = func(field string, value any) {
		switch v := value.(type) {
		case map[string]any:
			for key := range v {
				at := strings.TrimPrefix(field+"::"+key, "::")
				leaf(at, v[key], func(n any) { v[key] = n })
				below(at, v[key])
			}
		case []any:
			for i := range v {
				at := fmt.Sprintf("%s[%d]", field, i)
				leaf(at, v[i], func(n any) { v[i] = n })
				below(at, v[i])
			}
		}
	}
	below("", root)
}
