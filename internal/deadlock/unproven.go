package deadlock

import (
	"github.com/asyncinspect/asyncinspect/internal/fleet"
	"github.com/asyncinspect/asyncinspect/internal/report"
)

// unproven are the cores that lack evidence so far. Evidence grows when a process confirms
// its waits, so a core is looked at again when one of its processes has done that. When a
// task of it has changed, the others may be a core without it, so all are looked at again.
// A task is in one core at most.
type unproven struct {
	cores map[int]*unprovenCore
	next  int
	of    map[report.TaskID]int
	by    map[report.Process]map[int]struct{}
	due   map[int]struct{} // cores that are to be looked at again
}

type unprovenCore struct {
	tasks     []report.TaskID
	processes []report.Process
}

func newUnproven() unproven {
	return unproven{
		cores: make(map[int]*unprovenCore), of: make(map[report.TaskID]int),
		by: make(map[report.Process]map[int]struct{}), due: make(map[int]struct{}),
	}
}

func (u *unproven) len() int { return len(u.cores) }

// add remembers a core. It returns tasks of other cores that it takes the place of.
func (u *unproven) add(core []*fleet.Task) (others []report.TaskID) {
	for _, t := range core {
		if n, in := u.of[t.ID]; in {
			others = append(others, u.remove(n)...)
		}
	}
	c := new(unprovenCore)
	u.next++
	u.cores[u.next] = c
	for _, part := range byProcess(core) {
		process := part[0].Process
		c.processes = append(c.processes, process)
		if u.by[process] == nil {
			u.by[process] = make(map[int]struct{})
		}
		u.by[process][u.next] = struct{}{}
		for _, t := range part {
			c.tasks = append(c.tasks, t.ID)
			u.of[t.ID] = u.next
		}
	}
	return others
}

func (u *unproven) remove(n int) []report.TaskID {
	c := u.cores[n]
	for _, process := range c.processes {
		delete(u.by[process], n)
		if len(u.by[process]) == 0 {
			delete(u.by, process)
		}
	}
	for _, id := range c.tasks {
		delete(u.of, id)
	}
	delete(u.cores, n)
	delete(u.due, n)
	return c.tasks
}

// changed notes that a task waits for something else, or for nothing any more.
func (u *unproven) changed(id report.TaskID) {
	if n, in := u.of[id]; in {
		u.due[n] = struct{}{}
	}
}

// confirmed notes that a process has confirmed waits, and reports whether there is a core
// to be looked at again.
func (u *unproven) confirmed(process report.Process) bool {
	for n := range u.by[process] {
		u.due[n] = struct{}{}
	}
	return len(u.by[process]) > 0
}

// retry forgets the cores that are to be looked at again, and returns their tasks.
func (u *unproven) retry() (tasks []report.TaskID) {
	for n := range u.due {
		tasks = append(tasks, u.remove(n)...)
	}
	return tasks
}
