package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"iocpipe/filter/annotate"
)

const (
	lookAhead   = 1000 // lines within which verify looks for one that is not where it should be
	mostPrinted = 10   // problems that are told one by one
)

// A lineReader reads lines with their endings, and lets one look ahead.
type lineReader struct {
	r     *bufio.Reader
	ahead [][]byte
	err   error
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{r: bufio.NewReaderSize(r, 1<<20)} }

// peek returns the line i places ahead, or nil behind the last.
func (l *lineReader) peek(i int) []byte {
	for len(l.ahead) <= i && l.err == nil {
		line, err := l.r.ReadBytes('\n')
		if len(line) > 0 {
			l.ahead = append(l.ahead, line)
		}
		l.err = err
	}
	if i < len(l.ahead) {
		return l.ahead[i]
	}
	return nil
}

// skip goes n lines on.
func (l *lineReader) skip(n int) { l.ahead = l.ahead[n:] }

// A verifier compares what went into a filter with what came out.
type verifier struct {
	in, out                            *lineReader
	lines                              int64 // of in
	missing, reordered, changed, added int64
	problems                           []string

	lost, extra [][]byte // lines of one side that found no partner yet
}

// run compares line by line. Where two do not agree, the nearest place at which both go on together tells what was
// lost or added in between.
func (v *verifier) run() error {
	for {
		in, out := v.in.peek(0), v.out.peek(0)
		switch {
		case in == nil && out == nil:
			v.pairUp()
			return v.readError()
		case in != nil && out != nil && agree(in, out) == nil:
			v.step(1, 1)
		default:
			v.resync(in, out)
		}
	}
}

func (v *verifier) readError() error {
	for _, l := range []*lineReader{v.in, v.out} {
		if l.err != io.EOF {
			return l.err
		}
	}
	return nil
}

func (v *verifier) step(in, out int) {
	v.lines += int64(in)
	v.in.skip(in)
	v.out.skip(out)
}

// resync handles two lines that do not agree.
func (v *verifier) resync(in, out []byte) {
	for n := 1; n <= lookAhead; n++ {
		if next := v.out.peek(n); in != nil && next != nil && agree(in, next) == nil {
			for i := range n {
				v.extra = append(v.extra, v.out.peek(i))
			}
			v.step(0, n)
			return
		}
		if next := v.in.peek(n); out != nil && next != nil && agree(next, out) == nil {
			for i := range n {
				v.lost = append(v.lost, v.in.peek(i))
				v.tell("line %d is missing: %s", v.lines+int64(i)+1, v.in.peek(i))
			}
			v.step(n, 0)
			return
		}
	}
	switch {
	case in == nil:
		v.extra = append(v.extra, out)
		v.step(0, 1)
	case out == nil:
		v.lost = append(v.lost, in)
		v.tell("line %d is missing: %s", v.lines+1, in)
		v.step(1, 0)
	default:
		v.changed++
		v.tell("line %d: %v: %s", v.lines+1, agree(in, out), in)
		v.step(1, 1)
	}
}

// pairUp finds the lines that were lost at one place and turned up at another.
func (v *verifier) pairUp() {
	v.missing, v.added = int64(len(v.lost)), int64(len(v.extra))
	extra := v.extra
	for _, in := range v.lost[:min(len(v.lost), lookAhead)] {
		for i, out := range extra[:min(len(extra), lookAhead)] {
			if out != nil && agree(in, out) == nil {
				extra[i] = nil
				v.missing, v.added, v.reordered = v.missing-1, v.added-1, v.reordered+1
				break
			}
		}
	}
	for _, out := range extra {
		if out != nil {
			v.tell("added: %.0d%s", 0, out)
		}
	}
}

func (v *verifier) tell(format string, n any, rest ...any) {
	if len(v.problems) == mostPrinted {
		return
	}
	for i, r := range rest {
		if line, ok := r.([]byte); ok {
			line, _ = cutEnding(line)
			rest[i] = annotate.Safe(string(line[:min(len(line), 200)]))
		}
	}
	v.problems = append(v.problems, fmt.Sprintf(format, append([]any{n}, rest...)...))
}

// agree returns nil when out is in with nothing but an annotation added, its line ending included. Between files the
// filter adds a missing line feed, so that the last line of in may have none.
func agree(in, out []byte) error {
	inLine, inEnd := cutEnding(in)
	outLine, outEnd := cutEnding(out)
	if !bytes.Equal(inEnd, outEnd) {
		return fmt.Errorf("the line ending is %q instead of %q", outEnd, inEnd)
	}
	return annotate.VerifyLine(inLine, outLine)
}

func cutEnding(line []byte) (content, ending []byte) {
	n := len(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")))
	if !bytes.HasSuffix(line, []byte("\n")) {
		n = len(line)
	}
	return line[:n], line[n:]
}
