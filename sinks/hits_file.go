package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"iocpipe/sharedfile"
)

// maxReadBack is how much of the end of a hits file is read to know what it holds, in bytes. An hour's records of a busy
// host are less.
const maxReadBack = 16 << 20

// openCarrier opens a file for records. What is no regular file, such as a pipe, stays open and is written alone.
func openCarrier(path string) (carrier, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		return &pipe{file}, err
	}
	told, _ := simplelru.NewLRU[string, struct{}](maxRecords, nil) // the size is positive
	f := &hitsFile{path: path, told: told}
	return f, f.locked(f.readOn)
}

// A pipe takes records that nobody can read back.
type pipe struct{ w io.Writer }

func (p *pipe) deliver(_ context.Context, _ string, line []byte) (passing bool, err error) {
	_, err = p.w.Write(line)
	return false, err
}

// A hitsFile is a file to which several processes may append records, each only what is not there. It is opened for each
// record, which is seldom: so it can be rotated at any time.
type hitsFile struct {
	path string
	info os.FileInfo // of the file that was read
	read int64       // of it, in bytes
	torn bool        // its last line has no end: somebody was killed, or the disk was full
	told *simplelru.LRU[string, struct{}]
}

func (f *hitsFile) deliver(_ context.Context, id string, line []byte) (passing bool, err error) {
	err = f.locked(func(file *os.File) error {
		if err := f.readOn(file); err != nil || f.told.Contains(id) {
			return err
		}
		if f.torn {
			line = append([]byte{'\n'}, line...)
		}
		_, err := file.Write(line)
		return err
	})
	return true, err
}

// locked calls do with the file while no other process writes it.
func (f *hitsFile) locked(do func(*os.File) error) (err error) {
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }() // which unlocks it
	_ = sharedfile.Lock(file)                               // where files cannot be locked, two processes may tell the same
	return do(file)
}

// readOn reads what was appended since it was last read, by this process or another.
func (f *hitsFile) readOn(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if f.info == nil || !os.SameFile(f.info, info) || info.Size() < f.read {
		f.read, f.torn = max(0, info.Size()-maxReadBack), false
	}
	f.info = info
	data := make([]byte, info.Size()-f.read)
	n, err := file.ReadAt(data, f.read)
	if err != nil && err != io.EOF {
		return err
	}
	f.note(data[:n])
	return nil
}

// note remembers the records in data, which follows what was read before.
func (f *hitsFile) note(data []byte) {
	end := bytes.LastIndexByte(data, '\n') + 1
	for line := range bytes.Lines(data[:end]) {
		var r struct{ ID string }
		if json.Unmarshal(line, &r) == nil && r.ID != "" {
			f.told.Add(r.ID, struct{}{})
		}
	}
	f.torn = end < len(data)
	f.read += int64(end)
}
