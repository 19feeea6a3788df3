package keep

import (
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"
)

// Health tells, in the log and as the status of the component, when writing begins to
// fail and when it succeeds again. It has one user at a time.
type Health struct {
	host    component.Host
	logger  *zap.Logger
	failing bool
}

// NewHealth returns a Health of a component whose writing has not failed yet.
func NewHealth(host component.Host, logger *zap.Logger) *Health {
	return &Health{host: host, logger: logger}
}

// Written takes the result of an attempt to write.
func (h *Health) Written(err error) {
	switch {
	case err != nil && !h.failing:
		h.logger.Warn("Cannot write totals; metrics keep the totals that were written last, and writing is tried again", zap.Error(err))
		componentstatus.ReportStatus(h.host, componentstatus.NewRecoverableErrorEvent(fmt.Errorf("write totals: %w", err)))
	case err == nil && h.failing:
		h.logger.Info("Totals are written again")
		componentstatus.ReportStatus(h.host, componentstatus.NewEvent(componentstatus.StatusOK))
	}
	h.failing = err != nil
}
