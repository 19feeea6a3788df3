package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
)

// database is a pool of connections to a database.
type database struct {
	address string
	places  pool // as many as there may be connections
	idle    chan *connection
}

type connection struct {
	net.Conn
	answers *bufio.Reader
}

const connections = 64

func newDatabase(address string) *database {
	return &database{address: address, places: newPool(connections), idle: make(chan *connection, connections)}
}

// query waits for a connection, sends a question and waits for its answer.
func (d *database) query(ctx context.Context, table, key string) (row string, err error) {
	if err := d.places.Acquire(ctx, 1); err != nil {
		return "", err
	}
	defer d.places.Release(1)
	c, err := d.connection()
	if err != nil {
		return "", err
	}
	err = wait(ctx, table, func(context.Context) error {
		if _, err := fmt.Fprintf(c, "SELECT * FROM %s WHERE key = %s\n", table, key); err != nil {
			return err
		}
		row, err = c.answers.ReadString('\n')
		return err
	})
	d.idle <- c
	return row, err
}

func (d *database) connection() (*connection, error) {
	select {
	case c := <-d.idle:
		return c, nil
	default:
	}
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		return nil, err
	}
	return &connection{conn, bufio.NewReader(conn)}, nil
}
