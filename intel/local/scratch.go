package local

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// scratchName begins the names that scratch files have for a moment.
const scratchName = ".iocpipe-import-"

// A scratch holds bytes while a segment is built: in memory, or in a file that nobody else sees.
type scratch struct {
	size   int64
	memory []byte
	file   *os.File
	w      *bufio.Writer
	folder string
}

// newScratch returns a scratch in a folder, or in memory when that is "". The file is made when it is needed.
func newScratch(folder string) *scratch { return &scratch{folder: folder} }

func (s *scratch) write(data []byte) (err error) {
	s.size += int64(len(data))
	if s.folder == "" {
		s.memory = append(s.memory, data...)
		return nil
	}
	if s.file == nil {
		if s.file, err = os.CreateTemp(s.folder, scratchName+"*"); err != nil {
			return err
		}
		// Without a name it is gone with the process, however that ends. Where that cannot be, close removes it.
		_ = os.Remove(s.file.Name())
		s.w = bufio.NewWriterSize(s.file, 256<<10)
	}
	_, err = s.w.Write(data)
	return err
}

// section returns a reader of n bytes at an offset, once all is written.
func (s *scratch) section(at, n int64) (io.Reader, error) {
	if s.file == nil {
		return bytes.NewReader(s.memory[at : at+n]), nil
	}
	if err := s.w.Flush(); err != nil {
		return nil, err
	}
	return io.NewSectionReader(s.file, at, n), nil
}

func (s *scratch) close() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
	}
}

// sweepScratch removes the scratch files of those who were killed before they could. From who still uses one it takes a
// name that they need no more.
func sweepScratch(folder string) {
	files, _ := os.ReadDir(folder) // what cannot be read is not swept
	for _, f := range files {
		if strings.HasPrefix(f.Name(), scratchName) {
			_ = os.Remove(filepath.Join(folder, f.Name()))
		}
	}
}
