// Logcheck verifies an exported log without a line of the code that wrote it: the tree, its tiles and the note come from
// golang.org/x/mod/sumdb, the records from the page of the specification (proto/SPEC.md, section Log folder).
//
//	logcheck DIR VKEY
//
// VKEY is the log's Ed25519 verifier key. Lines by other keys, such as ML-DSA-44 and witnesses, are not verified: this
// version of the library does not know them; they must be well written all the same. Prints one line; exit 0 or 1.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height, width = 8, 1 << 8

type log struct {
	dir    string
	size   int64
	root   tlog.Hash
	hashes []tlog.Hash
	leaves [][]byte
	seen   map[string]bool // files that belong to the log
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: logcheck DIR VKEY")
		os.Exit(3)
	}
	l := &log{dir: os.Args[1], seen: map[string]bool{}}
	records, directories := 0, 0
	err := l.checkpoint(os.Args[2])
	if err == nil {
		err = l.entries()
	}
	tiles := 0
	if err == nil {
		tiles, err = l.tiles()
	}
	if err == nil {
		err = l.tree()
	}
	if err == nil {
		records, err = l.records()
	}
	if err == nil {
		directories, err = l.directories()
	}
	if err == nil {
		err = l.nothingElse()
	}
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
	fmt.Printf("ok: %d entries, %d tiles, %d records, %d directories\n", l.size, tiles, records, directories)
}

// read returns a file of the log.
func (l *log) read(path string) ([]byte, error) {
	l.seen[path] = true
	return os.ReadFile(filepath.Join(l.dir, path))
}

// checkpoint verifies the log's signature and reads size and root.
func (l *log) checkpoint(vkey string) error {
	raw, err := l.read("checkpoint")
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	opened, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return fmt.Errorf("checkpoint: %v", err)
	}
	for _, s := range append(opened.Sigs, opened.UnverifiedSigs...) {
		blob, err := base64.StdEncoding.DecodeString(s.Base64)
		if err != nil || base64.StdEncoding.EncodeToString(blob) != s.Base64 {
			return fmt.Errorf("checkpoint: a signature line of %s is not canonical", s.Name)
		}
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != verifier.Name() {
		return fmt.Errorf("checkpoint: not origin, size and root of %s", verifier.Name())
	}
	l.size, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || l.size < 0 || strconv.FormatInt(l.size, 10) != lines[1] {
		return fmt.Errorf("checkpoint: bad size")
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize || base64.StdEncoding.EncodeToString(root) != lines[2] {
		return fmt.Errorf("checkpoint: bad root")
	}
	copy(l.root[:], root)
	return nil
}

// stored gives tlog the hashes computed so far.
func (l *log) stored() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			if index >= int64(len(l.hashes)) {
				return nil, fmt.Errorf("hash %d is not computed", index)
			}
			found[i] = l.hashes[index]
		}
		return found, nil
	})
}

// bundles calls f with the number and width of every bundle of entries.
func (l *log) bundles(f func(n int64, w int) error) error {
	for n := int64(0); n*width < l.size; n++ {
		w := width
		if rest := l.size - n*width; rest < width {
			w = int(rest)
		}
		if err := f(n, w); err != nil {
			return err
		}
	}
	return nil
}

// path returns where C2SP tlog-tiles has a tile; tlog itself puts the height first and calls entries data.
func path(level int, n int64, w int) string {
	p := strings.TrimPrefix(tlog.Tile{H: height, L: level, N: n, W: w}.Path(), "tile/8/")
	return "tile/" + strings.Replace(p, "data/", "entries/", 1)
}

// entries hashes every entry.
func (l *log) entries() error {
	return l.bundles(func(n int64, w int) error {
		name := path(-1, n, w)
		raw, err := l.read(name)
		if err != nil {
			return err
		}
		for i := 0; i < w; i++ {
			if len(raw) < 2 || len(raw) < 2+int(binary.BigEndian.Uint16(raw)) {
				return fmt.Errorf("%s: ends within entry %d", name, i)
			}
			end := 2 + int(binary.BigEndian.Uint16(raw))
			leaf := raw[2:end]
			more, err := tlog.StoredHashes(n*width+int64(i), leaf, l.stored())
			if err != nil {
				return err
			}
			l.hashes = append(l.hashes, more...)
			l.leaves = append(l.leaves, leaf)
			raw = raw[end:]
		}
		if len(raw) != 0 {
			return fmt.Errorf("%s: %d bytes left over", name, len(raw))
		}
		return nil
	})
}

// tiles compares every tile with the hashes of the entries.
func (l *log) tiles() (int, error) {
	count := 0
	for level := 0; l.size>>(height*level) > 0; level++ {
		hashes := l.size >> (height * level)
		for n := int64(0); n*width < hashes; n++ {
			w := width
			if rest := hashes - n*width; rest < width {
				w = int(rest)
			}
			expected, err := tlog.ReadTileData(tlog.Tile{H: height, L: level, N: n, W: w}, l.stored())
			if err != nil {
				return count, err
			}
			raw, err := l.read(path(level, n, w))
			if err != nil {
				return count, err
			}
			if !bytes.Equal(raw, expected) {
				return count, fmt.Errorf("%s: not the hashes of the entries", path(level, n, w))
			}
			count++
		}
	}
	return count, nil
}

// tree compares the root; tlog has no word for that of an empty tree.
func (l *log) tree() error {
	root, err := tlog.TreeHash(l.size, l.stored())
	if l.size == 0 {
		root = sha256.Sum256(nil)
	}
	if err == nil && root != l.root {
		err = fmt.Errorf("the entries do not give the signed root")
	}
	return err
}

// records checks every commitment that can be computed; a log without the folder shows nothing.
func (l *log) records() (int, error) {
	if _, err := os.Stat(filepath.Join(l.dir, "records")); os.IsNotExist(err) {
		return 0, nil
	}
	count := 0
	err := l.bundles(func(n int64, w int) error {
		name := strings.Replace(path(-1, n, w), "tile/entries/", "records/", 1)
		raw, err := l.read(name)
		if err != nil {
			return err
		}
		if len(raw) < sha256.Size {
			return fmt.Errorf("%s: too short", name)
		}
		body, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
		if found := sha256.Sum256(body); !bytes.Equal(found[:], sum) {
			return fmt.Errorf("%s: does not match its check sum", name)
		}
		for i := 0; i < w; i++ {
			if len(body) < 4 || uint64(len(body)) < 4+uint64(binary.BigEndian.Uint32(body)) {
				return fmt.Errorf("%s: ends within record %d", name, i)
			}
			end := 4 + int(binary.BigEndian.Uint32(body))
			if end > 4 {
				count++
				if err := record(body[4:end], l.leaves[n*width+int64(i)]); err != nil {
					return fmt.Errorf("%s: record %d: %v", name, i, err)
				}
			}
			body = body[end:]
		}
		if len(body) != 0 {
			return fmt.Errorf("%s: %d bytes left over", name, len(body))
		}
		return nil
	})
	return count, err
}

// fields reads a message that has fields of bytes only, in rising order, each length in its shortest form.
func fields(raw []byte) (map[int][]byte, error) {
	found, last := map[int][]byte{}, 0
	for len(raw) > 0 {
		number := int(raw[0] >> 3)
		size, n := binary.Uvarint(raw[1:])
		if raw[0]&0x87 != 2 || number <= last || n <= 0 || size == 0 || size > uint64(len(raw)-1-n) ||
			len(binary.AppendUvarint(nil, size)) != n {
			return nil, fmt.Errorf("not canonical")
		}
		found[number] = raw[1+n : 1+n+int(size)]
		raw, last = raw[1+n+int(size):], number
	}
	return found, nil
}

// record checks the groups shown against the commitments of the leaf.
func record(raw, leaf []byte) error {
	if len(leaf) != 104 || !bytes.HasPrefix(leaf, []byte{8, 1}) {
		return fmt.Errorf("a leaf of another version")
	}
	committed, err := fields(leaf[2:])
	if err != nil {
		return err
	}
	shown, err := fields(raw)
	if err != nil {
		return err
	}
	for i, group := range []string{"routing", "message", "operational"} {
		bytesOf, salt := shown[2*i+1], shown[2*i+2]
		if salt == nil && bytesOf == nil {
			continue
		}
		if len(salt) != 32 {
			return fmt.Errorf("%s: a salt of %d bytes", group, len(salt))
		}
		h := sha256.New()
		fmt.Fprintf(h, "infoexchange/audit/v1/%s\x00%s%s", group, salt, bytesOf)
		if !bytes.Equal(h.Sum(nil), committed[i+2]) {
			return fmt.Errorf("%s: not what the entry commits to", group)
		}
	}
	for number := range shown {
		if number > 7 {
			return fmt.Errorf("unknown field %d", number)
		}
	}
	return nil
}

// directories checks that each is what its name says; who signed it is asked elsewhere.
func (l *log) directories() (int, error) {
	found, err := os.ReadDir(filepath.Join(l.dir, "directories"))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, file := range found {
		raw, err := l.read("directories/" + file.Name())
		if err != nil {
			return 0, err
		}
		sum := sha256.Sum256(raw)
		if !strings.HasSuffix(file.Name(), "-"+hex.EncodeToString(sum[:])) {
			return 0, fmt.Errorf("directories/%s: not what its name says", file.Name())
		}
	}
	return len(found), nil
}

// nothingElse refuses a file that no check has read.
func (l *log) nothingElse() error {
	return filepath.WalkDir(l.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		inside, err := filepath.Rel(l.dir, name)
		if err == nil && !l.seen[filepath.ToSlash(inside)] {
			err = fmt.Errorf("%s: a file that belongs to no log of %d entries", inside, l.size)
		}
		return err
	})
}
