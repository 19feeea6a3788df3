package inspect

import (
	"math"
	"time"

	"github.com/asyncinspect/asyncinspect/sdk/internal/wire"
)

// followClock makes what the collector has been told follow the wall clock. What a
// collector knows by the old clock is no evidence by the new one, so every wait gets a
// new revision and is told again, with all its times by the new clock.
func (r *reporter) followClock() {
	step := followWallClock()
	if step == r.step {
		return
	}
	moved := step - r.step
	r.step = step
	r.ins.config.logger.Info("async-inspect: the wall clock was set, or the machine was suspended; times follow the wall clock",
		"moved", time.Duration(moved))
	for _, told := range r.waits {
		told.moved, told.tellAt, told.repeated = true, math.MinInt64, 0
		told.last.Revision++
		told.last.Since += moved
		told.last.Start += moved
		told.last.Observed += moved
		if told.last.Deadline != 0 {
			told.last.Deadline += moved
		}
		for _, holders := range [][]wire.Holder{told.last.Holders, told.changed} {
			for i := range holders {
				if h := &holders[i]; h.Since != 0 {
					h.Since += moved
				}
			}
		}
	}
	for _, told := range r.tasks {
		told.tellAt, told.repeated = math.MinInt64, 0
		told.last.Start += moved
	}
}
