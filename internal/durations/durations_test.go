package durations

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configoptional"
)

type inner struct {
	Interval time.Duration `mapstructure:"interval"`
}

type Squashed struct {
	Timeout time.Duration `mapstructure:"timeout"`
}

type config struct {
	Squashed  `mapstructure:",squash"`
	Inner     inner                          `mapstructure:"inner"`
	List      []inner                        `mapstructure:"list"`
	Optional  configoptional.Optional[inner] `mapstructure:"optional"`
	Pointer   *time.Duration                 `mapstructure:"pointer"`
	Number    int                            `mapstructure:"number"`
	Undefined configoptional.Optional[inner] `mapstructure:"undefined"`
	Map       map[string]inner               `mapstructure:"map"`
}

// Every place in which a configuration can have a duration is looked at.
func TestADurationBelowAMillisecondIsRefusedWhereverItStands(t *testing.T) {
	short := 6 * time.Nanosecond
	defaults := config{Squashed: Squashed{5 * time.Second}, Inner: inner{500 * time.Millisecond}, Optional: configoptional.Some(inner{2 * time.Minute})}
	err := errors.Join(Check(config{
		Squashed: Squashed{4}, Inner: inner{500}, List: []inner{{time.Second}, {7}}, Optional: configoptional.Some(inner{3}),
		Pointer: &short, Number: 1, Map: map[string]inner{"a": {8}},
	}, defaults)...)
	require.EqualError(t, err, `inner::interval: is 500ns, which is below the minimum of 1ms; a number without a unit counts nanoseconds, perhaps 500ms is meant
list[1]::interval: is 7ns, which is below the minimum of 1ms; a number without a unit counts nanoseconds, perhaps 7s is meant
map::a::interval: is 8ns, which is below the minimum of 1ms; a number without a unit counts nanoseconds, perhaps 8s is meant
optional::interval: is 3ns, which is below the minimum of 1ms; a number without a unit counts nanoseconds, perhaps 3m is meant
pointer: is 6ns, which is below the minimum of 1ms; a number without a unit counts nanoseconds, perhaps 6s is meant
timeout: is 4ns, which is below the minimum of 1ms; a number without a unit counts nanoseconds, perhaps 4s is meant`)
}

func TestTheLimitIsAMillisecond(t *testing.T) {
	for d, refused := range map[time.Duration]bool{
		-1: false, 0: false, 1: true, Least - 1: true, Least: false, Least + 1: false, time.Hour: false,
	} {
		require.Equal(t, refused, len(Check(config{Inner: inner{d}}, config{})) == 1, "%v", d)
	}
}

// The unit is the one that brings the number nearest to the default.
func TestTheLikelyUnit(t *testing.T) {
	for _, c := range []struct {
		number int64
		usual  time.Duration
		want   string
	}{
		{500, 500 * time.Millisecond, "500ms"},
		{2, 2 * time.Second, "2s"},
		{60, time.Minute, "60s"},
		{5, 5 * time.Minute, "5m"},
		{7, 6 * 24 * time.Hour, "7h"},
		{30_000, 10 * time.Second, "30000ms"},
		{9, 0, "9s"},
	} {
		require.Equal(t, c.want, likely(time.Duration(c.number), c.usual))
	}
}
