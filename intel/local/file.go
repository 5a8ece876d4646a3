package local

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"runtime/debug"
)

// What may be wrong with a store file.
var (
	ErrForeign = errors.New("not a store of local intelligence")
	ErrNewer   = errors.New("store of a newer iocpipe; update this one")
	ErrDamaged = errors.New("damaged store of local intelligence")

	errCut = errors.New("it was cut short while it was in use")
)

const (
	magic      = "iocstore"
	version    = 1
	headerSize = 64

	// wholeCheck is up to which size a file is checked wholly when it is opened.
	wholeCheck = 16 << 20
)

// The kinds of parts, as numbers of the file format.
const (
	basePart    = 1
	addedPart   = 2
	removedPart = 3
	allowPart   = 4
)

// A part is a piece of a file, as its table says.
type part struct {
	kind     uint32
	at, size uint64
	sums     []uint32 // of its pages
}

// A file is an open store file.
type file struct {
	health  *health
	data    []byte
	parts   []part
	base    *segment // nil when there is none
	added   *segment
	removed *segment
	allowed []permit
}

// Open opens a store file, in a time that does not depend on its size beyond 16 MiB. What it says is then known until
// the store is no longer used, whatever becomes of the file. An error that the file does not exist is one of
// [io/fs.ErrNotExist]; others are [ErrForeign], [ErrNewer] and [ErrDamaged].
func Open(path string) (*Store, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	return f.store(), nil
}

func (f *file) store() *Store {
	s := &Store{files: []*file{f}, allowed: f.allowed}
	for _, segment := range []struct {
		of   *segment
		into *[]*segment
	}{{f.base, &s.feeds}, {f.added, &s.added}, {f.removed, &s.removed}} {
		if segment.of != nil && segment.of.names > 0 {
			*segment.into = append(*segment.into, segment.of)
		}
	}
	if len(s.feeds) == 0 && f.base != nil {
		s.feeds = append(s.feeds, f.base) // its sources are there, though empty
	}
	return s
}

func openFile(path string) (*file, error) {
	data, unmap, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	f, err := readFile(path, data)
	if err != nil {
		unmap()
		return nil, err
	}
	runtime.AddCleanup(f, func(unmap func()) { unmap() }, unmap)
	return f, nil
}

// readFile reads what data, the file at path, says of itself.
func readFile(path string, data []byte) (*file, error) {
	f := &file{health: &health{path: path}, data: data}
	err := f.guard(f.open)
	if err != nil && !errors.Is(err, ErrForeign) && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrDamaged) {
		f.health.fail(err)
		return nil, f.health.get()
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// guard calls do and returns its error, or that the file was cut short meanwhile.
func (f *file) guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			(&Store{files: []*file{f}}).noteFault(r)
			err = f.health.get()
		}
	}()
	return do()
}

// holds reports whether the file is mapped at an address.
func (f *file) holds(addr uintptr) bool {
	return len(f.data) > 0 && addr >= addressOf(f.data) && addr-addressOf(f.data) < uintptr(len(f.data))
}

func (f *file) open() error {
	if err := f.readHeader(); err != nil {
		return err
	}
	for i := range f.parts {
		p := &f.parts[i]
		data, sums := f.data[p.at:p.at+p.size:p.at+p.size], newPages(p.sums, f.health)
		if len(f.data) <= wholeCheck && !sums.check(data, 0, p.size) {
			return f.health.get()
		}
		var err error
		switch p.kind {
		case basePart:
			f.base, err = openSegment(data, sums)
		case addedPart:
			f.added, err = openSegment(data, sums)
		case removedPart:
			f.removed, err = openSegment(data, sums)
		case allowPart:
			if !sums.check(data, 0, p.size) {
				return f.health.get()
			}
			err = json.Unmarshal(data, &f.allowed)
		default:
			err = fmt.Errorf("a part of kind %d", p.kind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readHeader reads the header and the table of parts.
func (f *file) readHeader() error {
	data := f.data
	if len(data) < len(magic) || string(data[:len(magic)]) != magic {
		return ErrForeign
	}
	if len(data) < headerSize {
		return fmt.Errorf("it ends after %d bytes", len(data))
	}
	if crc32.Checksum(data[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(data[headerSize-4:]) {
		return errors.New("its header has changed since it was written")
	}
	if v := binary.LittleEndian.Uint32(data[8:]); v != version {
		return fmt.Errorf("%w (its format is %d, this one reads %d)", ErrNewer, v, version)
	}
	if size := binary.LittleEndian.Uint64(data[16:]); size != uint64(len(data)) {
		return fmt.Errorf("it has %d bytes, of %d that were written", len(data), size)
	}
	at, size := binary.LittleEndian.Uint64(data[24:]), binary.LittleEndian.Uint64(data[32:])
	if at > uint64(len(data)) || size > uint64(len(data))-at {
		return errors.New("its table of parts lies outside it")
	}
	table := data[at : at+size]
	if crc32.Checksum(table, castagnoli) != binary.LittleEndian.Uint32(data[40:]) {
		return errors.New("its table of parts has changed since it was written")
	}
	return f.readTable(table)
}

// partHead is the size of a part's line in the table, without its sums: kind, zero, offset and size.
const partHead = 4 + 4 + 8 + 8

func (f *file) readTable(table []byte) error {
	for len(table) > 0 {
		if len(table) < partHead {
			return errors.New("its table of parts ends early")
		}
		p := part{
			binary.LittleEndian.Uint32(table), binary.LittleEndian.Uint64(table[8:]), binary.LittleEndian.Uint64(table[16:]), nil,
		}
		table = table[partHead:]
		all := uint64(len(f.data))
		if p.at > all || p.size > all-p.at || (p.size+pageSize-1)/pageSize > uint64(len(table)/4) {
			return fmt.Errorf("part %d of its table lies outside it", p.kind)
		}
		for range (p.size + pageSize - 1) / pageSize {
			p.sums = append(p.sums, binary.LittleEndian.Uint32(table))
			table = table[4:]
		}
		f.parts = append(f.parts, p)
	}
	return nil
}
