package inspect

import "unsafe"

// reportBytes is about what a report takes until it is sent.
const reportBytes = 1024

// MemoryStats returns how full the SDK's tables are.
func (ins *Inspector) MemoryStats() MemoryStats {
	if !compiledIn || ins == nil {
		return MemoryStats{}
	}
	m := MemoryStats{
		TaskCount: ins.live.Load(), MaxTasks: ins.maxTasks,
		EventCount: ins.keptPoints.Load(), MaxEvents: ins.maxEvents,
	}
	waits := 0
	for i := range table {
		s := &table[i]
		s.mu.Lock()
		waits += s.waits.len
		s.mu.Unlock()
	}
	m.TotalBytes = m.TaskCount*int64(unsafe.Sizeof(Task{})) + m.EventCount*int64(unsafe.Sizeof(point{})) +
		int64(waits)*int64((unsafe.Sizeof(wait{})+unsafe.Sizeof(openWait{})))
	m.TotalBytes += moreReaderCount.Load() * moreReaderBytes
	if ins.reporter != nil && ins.reporter.sender != nil {
		m.TotalBytes += int64(ins.reporter.sender.Len()) * reportBytes
	}
	return m
}

// crowded reports whether a table is filled to more than nine tenths.
func (m MemoryStats) crowded() bool {
	return 10*m.TaskCount > 9*m.MaxTasks || 10*m.EventCount > 9*m.MaxEvents
}

// checkMemory warns once when a table gets crowded, and again only after it was not.
func (ins *Inspector) checkMemory() {
	m := ins.MemoryStats()
	if crowded := m.crowded(); crowded != ins.crowded.Swap(crowded) && crowded {
		ins.config.logger.Warn("async-inspect: more than 90 % of a limit is in use; beyond it tasks are counted but not listed",
			"tasks", m.TaskCount, "max_tasks", m.MaxTasks, "events", m.EventCount, "max_events", m.MaxEvents)
	}
}
