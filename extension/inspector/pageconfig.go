package inspector

import (
	"slices"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

type configAnswer struct {
	Version                string           `json:"version"`
	APIVersion             string           `json:"api_version"`
	TraceURL               string           `json:"trace_url"`
	Features               features         `json:"features"`
	TaskStates             []taskspan.State `json:"task_states"`
	WaitKinds              []taskspan.Kind  `json:"wait_kinds"`
	MaxLimit               int              `json:"max_limit"`
	HistoryIntervalSeconds float64          `json:"history_interval_seconds"`
	HistoryLengthSeconds   float64          `json:"history_length_seconds"`
	NotReadyOnDeadlock     bool             `json:"not_ready_on_deadlock"`
}

type features struct {
	TaskState        []string `json:"task_state"`
	DeadlockDetector []string `json:"deadlock_detector"`
	AdaptiveSampler  []string `json:"adaptive_sampler"`
}

var waitKinds = []taskspan.Kind{
	taskspan.WaitMutex, taskspan.WaitRWMutexRead, taskspan.WaitRWMutexWrite, taskspan.WaitSemaphore, taskspan.WaitChannelSend,
	taskspan.WaitChannelReceive, taskspan.WaitSelect, taskspan.WaitCond, taskspan.WaitJoin, taskspan.WaitSingleflight, taskspan.WaitOnce,
	taskspan.WaitRemote, taskspan.WaitExternal, taskspan.WaitSleep, taskspan.WaitIO,
}

func (x *inspector) getConfig(q *query) (any, error) {
	if err := q.done(); err != nil {
		return nil, err
	}
	return configAnswer{
		Version: x.version, APIVersion: apiVersion, TraceURL: x.cfg.TraceURL,
		Features: features{
			TaskState: x.taskStates.ids(), DeadlockDetector: x.detectors.ids(), AdaptiveSampler: x.samplers.ids(),
		},
		TaskStates: slices.Clone(taskStates), WaitKinds: slices.Clone(waitKinds), MaxLimit: maxLimit,
		HistoryIntervalSeconds: x.cfg.History.Interval.Seconds(), HistoryLengthSeconds: x.cfg.History.Length.Seconds(),
		NotReadyOnDeadlock: x.cfg.NotReadyOnDeadlock,
	}, nil
}
