package format

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// The bounds of lines, in bytes: of report lines, and of those of lists.
const (
	maxReportLine = 16 << 20
	maxListLine   = 8 << 10
)

var errTooLong = errors.New("line is too long")

// A lineReader reads lines one after the other. Of a line over maxReportLine it returns a piece that is longer than
// that, and goes on with the next line.
type lineReader struct {
	r    *bufio.Reader
	n    int // of the line read last, from 1
	long []byte
	end  error
}

// next returns the next line without its ending, which is valid until the next call, or the error that ends
// the lines. What stands before an error of reading is no whole line and is not returned.
func (l *lineReader) next() ([]byte, error) {
	if l.end != nil {
		return nil, l.end
	}
	l.n++
	piece, err := l.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		piece, err = l.readLong(piece)
	}
	l.end = err
	if err != nil && err != io.EOF {
		l.end = fmt.Errorf("line %d: %w", l.n, err)
		return nil, l.end
	}
	return bytes.TrimRight(piece, "\r\n"), nil
}

func (l *lineReader) readLong(piece []byte) ([]byte, error) {
	l.long = append(l.long[:0], piece...)
	for {
		piece, err := l.r.ReadSlice('\n')
		if len(l.long) <= maxReportLine {
			l.long = append(l.long, piece...)
		}
		if err != bufio.ErrBufferFull {
			return l.long, err
		}
	}
}

// eachLine calls do with each line of in, without the blanks around it, until it errs. The line is valid until do
// returns.
func (l *list) eachLine(in *bufio.Reader, do func(line []byte) error) error {
	lines := lineReader{r: in}
	l.where = func() string { return fmt.Sprintf("line %d", lines.n) }
	for {
		line, err := lines.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = do(bytes.TrimSpace(line))
		}
		if err != nil {
			return err
		}
	}
}
