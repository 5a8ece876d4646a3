package format

import (
	"bytes"
	"io"
	"os"
)

// maxSpooled is how much a spool holds in memory before it goes to a temporary file, in bytes.
const maxSpooled = 4 << 20

// A spool keeps the values of a JSON document that can be understood only with what stands behind them: the type of a
// list, the tags of an event. Close releases it.
type spool struct {
	mem  bytes.Buffer
	file *os.File
	path []step // of what is in it
}

// add keeps the next value of d.
func (s *spool) add(d *jsonReader) error {
	if s.path == nil {
		s.path = append([]step{}, d.path...)
	}
	return d.copy(s)
}

// Write implements io.Writer.
func (s *spool) Write(p []byte) (n int, err error) {
	if s.file == nil && s.mem.Len()+len(p) <= maxSpooled {
		return s.mem.Write(p)
	}
	if s.file == nil {
		if s.file, err = os.CreateTemp("", "iocpipe-*.json"); err != nil {
			return 0, err
		}
		os.Remove(s.file.Name()) // where that is not possible while it is open, the system clears it up
	}
	if s.mem.Len() >= 64<<10 || len(p) > 64<<10 {
		if _, err = s.mem.WriteTo(s.file); err != nil {
			return 0, err
		}
		return s.file.Write(p)
	}
	return s.mem.Write(p)
}

// each calls do for each element of the arrays that were kept, in their order, and can do so again.
func (s *spool) each(l *list, do func(d *jsonReader) error) error {
	var r io.Reader = bytes.NewReader(s.mem.Bytes())
	if s.file != nil {
		if _, err := s.mem.WriteTo(s.file); err != nil {
			return err
		}
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		r = s.file
	}
	d := newJSON(r, s.path...)
	before := l.where
	l.where = d.where
	defer func() { l.where = before }()
	return d.documents(func() error {
		return d.array(func() error { return do(d) })
	})
}

// Close releases what the spool keeps.
func (s *spool) Close() error {
	s.mem = bytes.Buffer{}
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
