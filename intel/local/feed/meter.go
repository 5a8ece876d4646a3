package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// errTooLarge is that a feed is larger than [Options] permits.
var errTooLarge = errors.New("more bytes than are allowed")

// A meter counts what is read, tells of it, and fails when it is too much or ctx is done.
type meter struct {
	*fetcher
	ctx   context.Context
	r     io.Reader
	feed  string
	total int64 // as announced; -1 if it is not
	left  int64
	n     atomic.Int64
}

// Read reads from the reader beneath.
func (m *meter) Read(p []byte) (int, error) {
	if err := context.Cause(m.ctx); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	total := m.n.Add(int64(n))
	if total > m.left {
		return 0, fmt.Errorf("%w on the wire (--max-bytes)", errTooLarge)
	}
	if m.OnProgress != nil && n > 0 {
		m.OnProgress(m.feed, total, m.total)
	}
	return n, err
}

// An atMost fails where io.LimitReader would pretend that the end is reached.
type atMost struct {
	r    io.Reader
	left int64
}

// Read reads from the reader beneath.
func (a *atMost) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if a.left -= int64(n); a.left < 0 {
		return 0, fmt.Errorf("%w when decompressed (--max-content)", errTooLarge)
	}
	return n, err
}
