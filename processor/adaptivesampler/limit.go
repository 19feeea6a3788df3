package adaptivesampler

import (
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
)

// bytes returns the limit, the smaller one if there are two.
func (m Memory) bytes() (int64, error) {
	limit := int64(math.MaxInt64)
	if m.LimitMiB > 0 {
		limit = int64(m.LimitMiB) << 20
	}
	if m.LimitPercentage > 0 {
		total, err := memoryOf("/")
		if err != nil {
			return 0, err
		}
		limit = min(limit, int64(float64(total)*m.LimitPercentage/100))
	}
	return limit, nil
}

// memoryOf returns how much memory there is for this process: the limit of its cgroup,
// or that of the machine. root is where to look.
func memoryOf(root string) (int64, error) {
	for _, file := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, err := os.ReadFile(root + file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n < 1<<60 {
			return n, nil
		}
	}
	data, err := os.ReadFile(root + "proc/meminfo")
	if err == nil {
		for line := range strings.Lines(string(data)) {
			if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "MemTotal:" {
				if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
					return n << 10, nil
				}
			}
		}
	}
	return 0, errors.New("how much memory this machine has cannot be read here; set memory::limit_mib")
}
