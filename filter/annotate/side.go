package annotate

import (
	"bufio"
	"io"
)

// A side is one of the two that are compared: lines with their endings, some of which have been read ahead.
type side struct {
	prints func(line []byte) []uint64 // the fingerprints of a line without its ending
	r      *bufio.Reader
	err    error

	ahead   [][]byte
	held    int              // bytes ahead
	passed  int              // lines that are behind
	index   map[uint64][]int // where, counted from the beginning, lines ahead with that fingerprint are, in order
	indexed int              // up to where lines are in index
}

func newSide(r io.Reader, prints func([]byte) []uint64) *side {
	return &side{prints: prints, r: bufio.NewReaderSize(r, 1<<20), index: make(map[uint64][]int)}
}

// peek returns the line i places ahead, or nil behind the last.
func (s *side) peek(i int) []byte {
	for len(s.ahead) <= i && s.err == nil {
		line, err := s.r.ReadBytes('\n')
		if len(line) > 0 {
			s.ahead = append(s.ahead, line)
			s.held += len(line)
		}
		s.err = err
	}
	if i < len(s.ahead) {
		return s.ahead[i]
	}
	return nil
}

// skip goes n lines on.
func (s *side) skip(n int) {
	for _, line := range s.ahead[:n] {
		if s.passed < s.indexed {
			s.forget(line)
		}
		s.passed++
		s.held -= len(line)
	}
	s.indexed = max(s.indexed, s.passed)
	s.ahead = s.ahead[n:]
}

// forget takes the first line ahead out of the index.
func (s *side) forget(line []byte) {
	for _, p := range s.prints(content(line)) {
		if rest := s.index[p][1:]; len(rest) > 0 {
			s.index[p] = rest
		} else {
			delete(s.index, p)
		}
	}
}

// nearest returns how many places ahead the nearest line is that fits, among those that share a fingerprint with line, a
// line of the other side; 0 when there is none.
func (s *side) nearest(line []byte, prints func([]byte) []uint64, fits func([]byte) bool) (nearest int) {
	if line == nil {
		return 0
	}
	s.readAhead()
	for _, p := range prints(content(line)) {
		at := s.index[p]
		for _, n := range at[:min(len(at), mostAlike)] {
			if i := n - s.passed; i > 0 && (nearest == 0 || i < nearest) && fits(s.ahead[i]) {
				nearest = i
				break
			}
		}
	}
	return nearest
}

// readAhead fills the index.
func (s *side) readAhead() {
	for s.indexed < s.passed+lookAhead && s.held < lookAheadBytes {
		line := s.peek(s.indexed - s.passed)
		if line == nil {
			return
		}
		for _, p := range s.prints(content(line)) {
			s.index[p] = append(s.index[p], s.indexed)
		}
		s.indexed++
	}
}
