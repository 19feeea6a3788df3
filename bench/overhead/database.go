package main

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// serveDatabase answers each line with a row, after one to four milliseconds.
func serveDatabase() (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	var queries atomic.Uint64
	row := strings.Repeat("a value, ", 20) + "\n"
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewReader(conn); ; {
					if _, err := lines.ReadSlice('\n'); err != nil {
						return
					}
					time.Sleep(time.Millisecond + time.Duration(queries.Add(1)*7919%3000)*time.Microsecond)
					if _, err := io.WriteString(conn, row); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String(), func() { _ = listener.Close() }, nil
}
