/*
 * Process 1 inside the machine: puts the kernel's own multiplexer (n_gsm) on the serial line, as module or as host, or
 * as the module of a whole modem, whose ports are other lines.
 * `main.rs` reads the output: `ready`, lines that begin with `ok`, and `through`; or `not ok` and the reason.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/gsmmux.h>
#include <linux/tty.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* A virtio console: an emulated UART costs the host a system call for every byte. */
#define LINE "/dev/hvc0"
/* The limit of every wait. The processor is emulated, and a transfer takes its time. */
#define PATIENCE_S 60
#define MIB (1 << 20)
/* The unit of a transfer, and the most that is under way in a channel where the kernel is the host, in bytes. */
#define CHUNK 1024
#define WINDOW 4096

static void end(void)
{
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	reboot(RB_POWER_OFF);
	_exit(1);
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	int error = errno;
	va_list values;

	va_start(values, format);
	printf("not ok ");
	vprintf(format, values);
	printf(" (%s)\n", strerror(error));
	va_end(values);
	end();
	abort();
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void pause_ms(int ms)
{
	poll(NULL, 0, ms);
}

static long number(const char *name)
{
	const char *text = getenv(name);

	if (!text)
		fail("%s is missing on the command line", name);
	return atol(text);
}

/* Raw bytes, whatever the modem lines say. */
static void make_raw(int fd, int ignores_carrier)
{
	struct termios settings;

	if (tcgetattr(fd, &settings))
		fail("tcgetattr");
	cfmakeraw(&settings);
	cfsetspeed(&settings, B115200);
	settings.c_cflag |= CREAD;
	if (ignores_carrier)
		settings.c_cflag |= CLOCAL;
	else
		settings.c_cflag &= ~CLOCAL;
	if (tcsetattr(fd, TCSANOW, &settings))
		fail("tcsetattr");
}

static int open_line(const char *path)
{
	double limit = now_s() + PATIENCE_S;
	int fd;

	while ((fd = open(path, O_RDWR | O_NOCTTY)) < 0) {
		if (now_s() > limit)
			fail("open %s", path);
		pause_ms(10);
	}
	make_raw(fd, 1);
	return fd;
}

/* From here on the line carries frames. */
static void multiplex(int line, int is_host, int frame_size)
{
	int discipline = N_GSM0710;
	struct gsm_config config;

	if (ioctl(line, TIOCSETD, &discipline))
		fail("n_gsm on " LINE);
	if (ioctl(line, GSMIOC_GETCONF, &config))
		fail("GSMIOC_GETCONF");
	config.initiator = is_host;
	config.encapsulation = 0;
	config.adaption = 1;
	config.i = 1;
	config.k = 0;
	config.mru = frame_size;
	config.mtu = frame_size;
	config.t1 = 10;
	config.t2 = 30;
	config.n2 = 3;
	if (ioctl(line, GSMIOC_SETCONF, &config))
		fail("GSMIOC_SETCONF");
}

/* A channel's device, once the multiplexer is open. Not blocking, because a modem need not show a carrier. */
static int open_channel(int dlci)
{
	char path[32];
	double limit = now_s() + PATIENCE_S;
	int fd;

	snprintf(path, sizeof(path), "/dev/gsmtty%d", dlci);
	while ((fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK)) < 0) {
		if (now_s() > limit)
			fail("open %s", path);
		pause_ms(1);
	}
	make_raw(fd, 1);
	return fd;
}

/* Waits until bytes can be read or written: 0 at the end of the file. */
static int wait_for(int fd, short events)
{
	struct pollfd waiting = { .fd = fd, .events = events };
	int count = poll(&waiting, 1, PATIENCE_S * 1000);

	if (count < 0)
		fail("poll");
	if (!count) {
		errno = ETIMEDOUT;
		fail("nothing can be %s", events & POLLIN ? "read" : "written");
	}
	return !(waiting.revents & (POLLHUP | POLLERR));
}

/* What there is, or 0 at the end of the file. */
static size_t read_some(int fd, void *bytes, size_t room)
{
	for (;;) {
		ssize_t count = read(fd, bytes, room);

		if (count > 0)
			return count;
		if (count == 0 || errno == EIO)
			return 0;
		if (errno != EAGAIN)
			fail("read");
		wait_for(fd, POLLIN);
	}
}

/* False if the file has ended before. */
static int write_all(int fd, const void *bytes, size_t count)
{
	while (count > 0) {
		ssize_t written = write(fd, bytes, count);

		if (written < 0 && errno == EIO)
			return 0;
		if (written < 0 && errno != EAGAIN)
			fail("write");
		if (written > 0) {
			bytes = (const char *)bytes + written;
			count -= written;
		} else if (!wait_for(fd, POLLOUT)) {
			return 0;
		}
	}
	return 1;
}

/* As module. */

/* Sends back what comes, until the host closes the channel, and again when it opens it. */
__attribute__((noreturn)) static void echo(int dlci)
{
	static char bytes[4096];

	for (;;) {
		int fd = open_channel(dlci);
		size_t count;

		fcntl(fd, F_SETFL, O_RDWR);
		write_all(fd, "!", 1);
		while ((count = read_some(fd, bytes, sizeof(bytes))) > 0)
			if (!write_all(fd, bytes, count))
				break;
		close(fd);
		printf("end of file on channel %d\n", dlci);
	}
}

static void be_module(void)
{
	int line = open_line(LINE);

	multiplex(line, 0, number("frame_size"));
	for (int dlci = 1; dlci <= number("echoes"); dlci++)
		if (fork() == 0)
			echo(dlci);
	printf("ready\n");
	for (;;)
		pause();
}

/* An AT command and its answer, up to a line that ends with `last`. */
static const char *ask(int fd, const char *command, const char *last)
{
	static char answer[1024];
	size_t length = 0;

	answer[0] = 0;
	if (!write_all(fd, command, strlen(command)) || !write_all(fd, "\r", 1))
		fail("%s: the channel has ended", command);
	while (!strstr(answer, last)) {
		size_t count = read_some(fd, answer + length, sizeof(answer) - 1 - length);

		if (count == 0)
			fail("%s: the channel has ended after \"%s\"", command, answer);
		length += count;
		answer[length] = 0;
		if (strstr(answer, "ERROR") || length == sizeof(answer) - 1)
			fail("%s: \"%s\"", command, answer);
	}
	return answer;
}

/* The next eight bytes of a stream of payload that no two channels share (xorshift64*). */
static uint64_t next_payload(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

static void fill(uint64_t *state, uint64_t *words, size_t count)
{
	for (size_t index = 0; index < count; index++)
		words[index] = next_payload(state);
}

/*
 * Sends `bytes` bytes through a stream to a server that sends them back, and compares. No more is under way than the
 * kernel queues: a queue that is full waits for a timer of a second.
 */
static void transfer(int fd, int dlci, long bytes)
{
	uint64_t sent_state = dlci, expected_state = dlci;
	uint64_t sent[CHUNK / 8], expected[CHUNK / 8];
	char come[CHUNK];
	long to_send = bytes, to_come = bytes;
	size_t filled = 0;

	while (to_come > 0) {
		size_t count;

		if (to_send > 0 && to_come - to_send <= WINDOW - CHUNK) {
			fill(&sent_state, sent, CHUNK / 8);
			if (!write_all(fd, sent, CHUNK))
				fail("channel %d has ended with %ld bytes to send", dlci, to_send);
			to_send -= CHUNK;
			continue;
		}
		count = read_some(fd, come + filled, CHUNK - filled);
		if (count == 0)
			fail("channel %d has ended with %ld bytes to come", dlci, to_come);
		filled += count;
		if (filled < CHUNK)
			continue;
		fill(&expected_state, expected, CHUNK / 8);
		if (memcmp(come, expected, CHUNK))
			fail("channel %d: other bytes came back than were sent, %ld before the end", dlci, to_come);
		to_come -= CHUNK;
		filled = 0;
	}
}

static int has_carrier(int fd)
{
	int lines;

	if (ioctl(fd, TIOCMGET, &lines))
		fail("TIOCMGET");
	return !!(lines & TIOCM_CD);
}

static void wait_for_carrier(int fd, int wanted)
{
	double limit = now_s() + PATIENCE_S;

	while (has_carrier(fd) != wanted) {
		if (now_s() > limit)
			fail("DCD does not go %s", wanted ? "on" : "off");
		pause_ms(1);
	}
}

/* Opens a stream on the channel: from now on it is one connection's. */
static void connect_stream(int fd, int dlci, const char *server)
{
	char command[128];

	snprintf(command, sizeof(command), "AT+QSSLOPEN=1,%d,%d,\"%s\",443,2", dlci - 1, dlci - 1, server);
	ask(fd, command, "CONNECT\r\n");
	wait_for_carrier(fd, 1);
}

/* As the module of a modem. */

/* Moves what can be read to the other file. False at the end of the file. */
static int move(int from, int to)
{
	char bytes[CHUNK];
	size_t count = read_some(from, bytes, sizeof(bytes));

	return count > 0 && write_all(to, bytes, count);
}

/* One port of the modem is the other end of this channel. */
__attribute__((noreturn)) static void relay(int dlci, int port)
{
	for (;;) {
		int channel = open_channel(dlci);
		struct pollfd both[] = { { .fd = channel, .events = POLLIN }, { .fd = port, .events = POLLIN } };

		do {
			if (poll(both, 2, -1) < 0)
				fail("poll");
			if (both[1].revents && !move(port, channel))
				break;
		} while (!both[0].revents || move(channel, port));
		close(channel);
	}
}

/* Passes commands to the modem's first port until one begins the mode. Returns its N1. */
static int pass_until_cmux(int line, int port)
{
	char command[256] = "";
	size_t length = 0;
	struct pollfd both[] = { { .fd = line, .events = POLLIN }, { .fd = port, .events = POLLIN } };
	int frame_size;

	for (;;) {
		if (poll(both, 2, -1) < 0)
			fail("poll");
		if (both[1].revents)
			move(port, line);
		if (!both[0].revents)
			continue;
		length += read_some(line, command + length, 1);
		command[length] = 0;
		if (command[length - 1] != '\r' && length < sizeof(command) - 1)
			continue;
		if (sscanf(command, "AT+CMUX=0,0,%*d,%d", &frame_size) == 1) {
			write_all(line, "\r\nOK\r\n", 6);
			return frame_size;
		}
		write_all(port, command, length);
		length = 0;
	}
}

static void be_modem(void)
{
	int line = open_line(LINE), ports[4];

	for (int dlci = 1; dlci <= 4; dlci++) {
		char path[32];

		snprintf(path, sizeof(path), "/dev/hvc%d", dlci);
		ports[dlci - 1] = open_line(path);
	}
	/* As AT+QCFG="cmux/urcport",1 does where the modem itself has the channels. */
	ask(ports[0], "AT+QURCCFG=\"urcport\",\"uart1\"", "OK\r\n");
	printf("ready\n");
	multiplex(line, 0, pass_until_cmux(line, ports[0]));
	for (int dlci = 1; dlci <= 4; dlci++)
		if (fork() == 0)
			relay(dlci, ports[dlci - 1]);
	for (;;)
		pause();
}

/* As host. */

static void set_up(int fd)
{
	ask(fd, "ATE0", "OK\r\n");
	ask(fd, "AT+QICSGP=1,1,\"internet\"", "OK\r\n");
	ask(fd, "AT+QIACT=1", "OK\r\n");
}

static void report(const char *what, double since)
{
	printf("ok %s, %.1f s\n", what, now_s() - since);
}

/* Frees the number of a stream's socket, whether its channel was closed or not. */
static void close_socket(int commands, int dlci)
{
	char command[32];

	snprintf(command, sizeof(command), "AT+QSSLCLOSE=%d", dlci - 1);
	ask(commands, command, "OK\r\n");
}

static void carry_streams(int commands, int streams, long bytes)
{
	double since = now_s();
	int left = streams;
	long asked = 0;
	char what[128];

	for (int dlci = 2; dlci < 2 + streams; dlci++) {
		int fd = open_channel(dlci);

		connect_stream(fd, dlci, "server.test");
		if (fork() == 0) {
			transfer(fd, dlci, bytes / streams);
			_exit(0);
		}
		close(fd);
	}
	report("streams connect, DCD goes on", since);
	since = now_s();
	/* Commands are answered meanwhile. */
	while (left > 0) {
		ask(commands, "AT+CSQ", "OK\r\n");
		asked++;
		pause_ms(100);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			left--;
	}
	for (int dlci = 2; dlci < 2 + streams; dlci++)
		close_socket(commands, dlci);
	snprintf(what, sizeof(what), "%ld bytes each way on %d streams, equal, with %ld commands beside them", bytes,
		 streams, asked);
	report(what, since);
}

/* The server does not read: in the end FC holds the stream, and no other channel. */
static void be_held(int commands, int dlci)
{
	static char bytes[CHUNK];
	double since = now_s(), moved = since;
	int fd = open_channel(dlci);
	long sent = 0;
	char what[64];

	connect_stream(fd, dlci, "silent.test");
	/* Only FC lasts longer than the kernel's timer of a second. */
	while (now_s() - moved < 3) {
		int waiting;
		size_t count;

		if (ioctl(fd, TIOCOUTQ, &waiting))
			fail("TIOCOUTQ");
		if (waiting == 0)
			moved = now_s();
		/* Little is enough to remind the kernel of what waits. */
		count = waiting == 0 ? CHUNK : waiting < WINDOW / 2 ? 16 : 0;
		if (!write_all(fd, bytes, count))
			fail("channel %d has ended after %ld bytes", dlci, sent);
		sent += count;
		pause_ms(1);
	}
	ask(commands, "AT+CSQ", "OK\r\n");
	tcflush(fd, TCOFLUSH);
	close(fd);
	close_socket(commands, dlci);
	snprintf(what, sizeof(what), "held after %ld bytes", sent);
	report(what, since);
}

/* The socket is closed by another channel. The carrier falls, and that is an end of file. */
static void lose_carrier(int commands, int dlci)
{
	double since = now_s();
	char rest[CHUNK];
	int fd = open_channel(dlci);

	connect_stream(fd, dlci, "server.test");
	close_socket(commands, dlci);
	wait_for_carrier(fd, 0);
	ask(fd, "AT", "OK\r\n");
	connect_stream(fd, dlci, "server.test");
	make_raw(fd, 0);
	close_socket(commands, dlci);
	while (read_some(fd, rest, sizeof(rest)) > 0)
		;
	close(fd);
	report("DCD goes off, which is an end of file", since);
}

static void open_and_close(int dlci, long count)
{
	double since = now_s();
	char what[64];

	for (long round = 0; round < count; round++) {
		int fd = open_channel(dlci);

		/* The channel is a new one: it has its echo. */
		if (strncmp(ask(fd, "ATE0", "OK\r\n"), "ATE0", 4))
			fail("the channel was not closed in round %ld", round);
		close(fd);
	}
	snprintf(what, sizeof(what), "%ld opens and closes", count);
	report(what, since);
}

static void be_host(void)
{
	int frame_size = number("frame_size");
	int line = open_line(LINE);
	char command[64];
	int commands;
	double since = now_s();

	ask(line, "AT", "OK\r\n");
	snprintf(command, sizeof(command), "AT+CMUX=0,0,5,%d", frame_size);
	ask(line, command, "OK\r\n");
	multiplex(line, 1, frame_size);
	commands = open_channel(1);
	set_up(commands);
	report("set-up", since);
	carry_streams(commands, number("streams"), number("mib") * MIB);
	be_held(commands, 4);
	lose_carrier(commands, 3);
	open_and_close(3, number("opens"));
	printf("through\n");
	end();
}

static int load(const char *module)
{
	int fd = open(module, O_RDONLY);
	long error = fd < 0 ? -1 : syscall(SYS_finit_module, fd, "", 0);

	if (fd >= 0)
		close(fd);
	return error && errno != EEXIST ? -1 : 0;
}

/* Loads the line and its multiplexer. Which module needs which differs from kernel to kernel. */
static void load_modules(void)
{
	static const char *modules[] = {
		"/virtio_ring.ko", "/virtio.ko",	 "/virtio_pci_modern_dev.ko", "/virtio_pci_legacy_dev.ko",
		"/virtio_pci.ko",  "/virtio_console.ko", "/n_gsm.ko",
	};
	size_t count = sizeof(modules) / sizeof(*modules);

	for (size_t pass = 0; pass < count; pass++)
		for (size_t index = 0; index < count; index++)
			if (load(modules[index]) && pass == count - 1)
				fail("%s", modules[index]);
}

int main(void)
{
	int console;
	const char *role = getenv("role");

	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	console = open("/dev/ttyS0", O_RDWR | O_NOCTTY);
	dup2(console, STDOUT_FILENO);
	dup2(console, STDERR_FILENO);
	setvbuf(stdout, NULL, _IOLBF, 0);
	load_modules();
	if (role && !strcmp(role, "module"))
		be_module();
	if (role && !strcmp(role, "modem"))
		be_modem();
	if (role && !strcmp(role, "host"))
		be_host();
	fail("role is module, modem or host");
}
