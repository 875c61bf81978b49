// SPDX-License-Identifier: MIT

// A MongoDB-wire server for the tests: FerretDB over SQLite in a folder, on a loopback address.
//
//	ferretdb FOLDER [HOST:PORT [REPLICA-SET]]
//
// Without an address, or with port 0, the system chooses the port. The address is printed on a line once
// clients may come. With a replica set it says that it is the primary of that. Ends on SIGTERM, and with
// its parent, so that it never outlives a test. On SIGUSR1 it prints "cut" and how often it has; then the
// next command is carried out, but of its answer only the half is sent before the connection is closed.
//
// FerretDB 1 reads and writes in two steps: two findAndModify of one document could both find what
// only one may take. mongod carries out a write of one document as a whole, and what is tested here
// relies on that. So one command at a time gets through: this relays between clients and a FerretDB
// on a unix socket, and holds a lock from a command to its answer.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

const (
	headerBytes     = 16
	messageBytesMax = 48_000_000 // of the protocol

	opReply = 1
	opQuery = 2004
	opMsg   = 2013
	// where the document begins
	replyDocument = headerBytes + 20
	msgDocument   = headerBytes + 5
)

var number = binary.LittleEndian

// What the clients see.
type server struct {
	socket     string // of FerretDB
	address    string
	replicaSet string
	one        sync.Mutex  // from a command to its answer
	cuts       atomic.Bool // the next answer
}

// A message of the wire protocol: its length, then three more numbers, then the rest.
func readMessage(from io.Reader) ([]byte, error) {
	var head [headerBytes]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	size := number.Uint32(head[:4])
	if size < headerBytes || size > messageBytesMax {
		return nil, errors.New("not a message")
	}
	message := make([]byte, size)
	copy(message, head[:])
	_, err := io.ReadFull(from, message[headerBytes:])
	return message, err
}

// The first thing that a client says, and says again to see whether the server is well.
func isHello(command []byte) bool {
	if number.Uint32(command[12:]) == opQuery {
		return true // nothing else comes in this form any more
	}
	const name = msgDocument + 5
	for _, hello := range []string{"hello", "isMaster", "ismaster"} {
		if end := name + len(hello) + 1; len(command) > end && string(command[name:end]) == hello+"\x00" {
			return true
		}
	}
	return false
}

func appendText(to []byte, name, text string) []byte {
	to = append(append(append(to, 2), name...), 0)
	to = number.AppendUint32(to, uint32(len(text)+1))
	return append(append(to, text...), 0)
}

// A hello's answer, with what a primary says more than a lone server.
func (s *server) asPrimary(answer []byte) []byte {
	at := msgDocument
	if number.Uint32(answer[12:]) == opReply {
		at = replyDocument
	}
	var hosts []byte
	hosts = append(appendText(number.AppendUint32(hosts, 0), "0", s.address), 0)
	number.PutUint32(hosts, uint32(len(hosts)))
	answer = answer[:len(answer)-1] // the end of the document
	answer = appendText(answer, "setName", s.replicaSet)
	answer = appendText(answer, "me", s.address)
	answer = append(append(append(answer, 4), "hosts\x00"...), hosts...)
	answer = append(answer, 0)
	number.PutUint32(answer, uint32(len(answer)))
	number.PutUint32(answer[at:], uint32(len(answer)-at))
	return answer
}

func (s *server) ask(db net.Conn, command []byte) ([]byte, error) {
	s.one.Lock()
	defer s.one.Unlock()
	if _, err := db.Write(command); err != nil {
		return nil, err
	}
	return readMessage(db)
}

// Commands of one client, each with its answer, until either side ends.
func (s *server) relay(client net.Conn) {
	defer client.Close()
	db, err := net.Dial("unix", s.socket)
	if err != nil {
		return
	}
	defer db.Close()
	for {
		command, err := readMessage(client)
		if err != nil {
			return
		}
		answer, err := s.ask(db, command)
		if err != nil {
			return
		}
		if isHello(command) {
			if s.replicaSet != "" {
				answer = s.asPrimary(answer)
			}
		} else if s.cuts.CompareAndSwap(true, false) {
			client.Write(answer[:len(answer)/2])
			return
		}
		if _, err = client.Write(answer); err != nil {
			return
		}
	}
}

func waitFor(socket string) error {
	for tries := 0; ; tries++ {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			return conn.Close()
		}
		if tries == 1000 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A port that was ours before may be someone's outgoing connection's for a moment.
func listen(address string) (net.Listener, error) {
	for tries := 0; ; tries++ {
		listener, err := net.Listen("tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) || tries == 100 {
			return listener, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func serve(folder, address, replicaSet string) error {
	socket := filepath.Join(folder, "socket")
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // left by one that was killed
	}
	db, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{Unix: socket},
		Handler:   "sqlite",
		SQLiteURL: "file:" + folder + "/",
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	if err = waitFor(socket); err != nil {
		return err
	}
	listener, err := listen(address)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	s := server{socket: socket, address: listener.Addr().String(), replicaSet: replicaSet}
	cut := make(chan os.Signal, 1)
	signal.Notify(cut, syscall.SIGUSR1)
	go func() {
		for count := 1; ; count++ {
			<-cut
			s.cuts.Store(true)
			fmt.Println("cut", count)
		}
	}()
	go func() {
		for parent := os.Getppid(); os.Getppid() == parent; {
			time.Sleep(200 * time.Millisecond)
		}
		stop()
	}()
	go func() {
		<-ctx.Done()
		listener.Close()
	}()
	for {
		client, err := listener.Accept()
		if err != nil {
			break
		}
		go s.relay(client)
	}
	select { // open connections are no reason to wait for long
	case err = <-ended:
	case <-time.After(time.Second):
	}
	return err
}

func main() {
	if len(os.Args) < 2 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: ferretdb FOLDER [HOST:PORT [REPLICA-SET]]")
		os.Exit(2)
	}
	address, replicaSet := "127.0.0.1:0", ""
	if len(os.Args) > 2 {
		address = os.Args[2]
	}
	if len(os.Args) > 3 {
		replicaSet = os.Args[3]
	}
	if err := serve(os.Args[1], address, replicaSet); err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
		os.Exit(1)
	}
}
