/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Fixture of the kernel tests: the TCP collector run in this process, a sink that
 * keeps what it tells, and real sockets on loopback. Everything is a difference
 * from the mark, so that tests can share one collector.
 *
 * One collector a test program: open it in the group's set-up. A test that may
 * not load BPF here exits with SONDE_EXIT_SKIP (fixture_main()).
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/types.h>

#include "sonde-test.h"

#include "collect/collector.h"

#define FIXTURE_CELLS_MAX 4096
#define FIXTURE_DROPS_MAX 8192 /* as many as the kernel side keeps */
#define FIXTURE_PROCESSES_MAX 512
#define FIXTURE_PROBES_MAX 128
#define FIXTURE_IDS_MAX 128
#define FIXTURE_FLOWS_MAX 65536
#define FIXTURE_RESTS_MAX 1024

struct fixture_cell {
	bool known;
	struct sonde_tcp_cell_key key;
	struct sonde_tcp_cell now;
	struct sonde_tcp_calls calls;
	struct sonde_tcp_hist hists[_SONDE_PROBE_HIST_MAX];
};

struct fixture {
	void *state;
	struct sonde_collect_timing timing;
	struct fixture_cell *cells; /* by index */
	size_t n_cells;		    /* highest index seen + 1 */
	struct sonde_probe_drop drops[FIXTURE_DROPS_MAX];
	size_t n_drops;
	struct sonde_probe_process processes[FIXTURE_PROCESSES_MAX]; /* of the last snapshot */
	size_t n_processes;
	struct sonde_probe_loss loss;
	struct sonde_probe_cost costs[FIXTURE_PROBES_MAX];
	size_t n_costs;
	struct sonde_probe_probe probes[FIXTURE_PROBES_MAX];
	size_t n_probes;
	struct sonde_flow *flows; /* of the last snapshot; owned */
	size_t n_flows;
	struct sonde_probe_flow_rest rests[FIXTURE_RESTS_MAX]; /* of the last snapshot */
	size_t n_rests;
	uint32_t open_flows; /* asked for by a snapshot; 1,000 by default */
	struct {
		char kind;
		uint32_t id;
	} ids[FIXTURE_IDS_MAX];
	size_t n_ids;
};

/* Values of 0 mean the default: 1,024 cells, 256 targets, the host's cgroup v2. */
struct fixture_options {
	uint32_t max_cells;
	uint32_t max_targets;
	bool without_sockops;
	bool without_flows;
	uint32_t signals; /* whose hooks are attached: SONDE_SIGNAL_BIT() */
	struct sonde_kernel_btf_files btf;
	const char *cgroup; /* where sockops is attached; NULL: the root of cgroup v2 */
	const char *const
		*without; /* kinds of hooks that are not taken, as in the collector's config */
};

/* Where cgroup v2 is mounted. */
const char *fixture_cgroup_root(void);

/* Return: 0, or what start() refused with. */
int fixture_open(struct fixture *f, const struct fixture_options *options);
void fixture_close(struct fixture *f);
/* fixture_open() with defaults, this process as target of task 0; *state = the fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* This machine is a VM of tests/lab, 20 times slower than the one that it is on. */
bool fixture_is_emulated(void);
/* How often to do what tries for a race and is @n times elsewhere: a fifth of that where the machine is emulated. */
size_t fixture_rounds(size_t n);
/* True, with the reason on stderr, when BPF may not be loaded here. */
bool fixture_bpf_is_refused(void);
/* Runs the tests with that set-up; SONDE_EXIT_SKIP when BPF is refused here. */
int fixture_main_(const char *name, const struct CMUnitTest *tests, size_t n);
#define fixture_main(tests) fixture_main_(#tests, tests, sizeof(tests) / sizeof((tests)[0]))
/*
 * For a group that is all about one metric: is it measured here (fixture_measures() of a collector opened for the
 * question)? If not, the group is one test, that the reason is told. BPF is not refused.
 */
bool fixture_is_measured(const char *metrics, const char *less);
int fixture_tell_absent(const char *metrics, const char *less);

void fixture_target(struct fixture *f, pid_t pid, uint64_t task_mask);
void fixture_seed(struct fixture *f);
void fixture_set_options(struct fixture *f, uint32_t options);
void fixture_set_signals(struct fixture *f, uint32_t signals);
/* The record of an alternative, as told last; NULL when there is none. */
const struct sonde_probe_probe *fixture_probe(const struct fixture *f, const char *metrics,
					      const char *name);
/*
 * Is the metric measured here, and in full as to @less: words of what a lesser alternative does not give (NULL: it may
 * lack anything; "": nothing)? If not, its records must say why, or the test fails; the reason goes to stderr.
 */
bool fixture_measures(const struct fixture *f, const char *metrics, const char *less);
void fixture_snapshot(struct fixture *f);

/*
 * Sum over the cells of one role and service port; @pid 0 = of every process.
 * Counters and this snapshot's gauges.
 */
struct sonde_tcp_cell fixture_sum(const struct fixture *f, pid_t pid, enum sonde_tcp_role role,
				  uint16_t port);
/* The only cell of a (pid, role, port); NULL when there is none, and a failed test when several. */
const struct fixture_cell *fixture_cell(const struct fixture *f, pid_t pid,
					enum sonde_tcp_role role, uint16_t port);
/* Of the last snapshot, by a socket's cookie; NULL when it was not told. */
const struct sonde_flow *fixture_flow(const struct fixture *f, uint64_t id);
/* SO_COOKIE. */
uint64_t fixture_cookie(int fd);
/* The sum over the same cells. */
struct sonde_tcp_calls fixture_calls(const struct fixture *f, pid_t pid, enum sonde_tcp_role role,
				     uint16_t port);
struct sonde_tcp_hist fixture_call_hist(const struct fixture *f, pid_t pid,
					enum sonde_tcp_role role, uint16_t port,
					enum sonde_tcp_call_hist which);
uint64_t fixture_hist_total(const struct sonde_tcp_hist *hist);
uint64_t fixture_retransmits(const struct sonde_tcp_cell *cell);
uint64_t fixture_loss(const struct fixture *f, enum sonde_tcp_loss site);

/* A descriptor of the collector's map whose (cut) name ends so, for the caller to close. */
int fixture_map(const struct fixture *f, const char *name);
/* Sets a 32-bit global of the kernel side that begins as 0, by the name that its BTF gives. */
void fixture_set_global(const struct fixture *f, const char *name, uint32_t value);

/* Sockets. @family AF_INET or AF_INET6, loopback. A failed call fails the test. */
int fixture_listen(int family, int backlog, uint16_t *ret_port);
/*
 * A socket at @any's address and a port that none of these had before: cells are known by their port, and the
 * kernel hands a port out again before a collector has ended.
 */
int fixture_bind_anew(int family, const struct sockaddr_storage *any, socklen_t len,
		      uint16_t *ret_port);
int fixture_connect(int family, uint16_t port);
int fixture_accept(int listener);

struct fixture_pair {
	int listener;
	int client;
	int server;
	uint16_t port;
	uint32_t handshake_us; /* fixture_handshake_us() of the server */
};

struct fixture_pair fixture_pair(int family);
/* A second connection to the same listener. */
struct fixture_pair fixture_again(const struct fixture_pair *pair);
/* Closes what is open (-1 = closed already), the listener too. */
void fixture_pair_done(struct fixture_pair *pair);
void fixture_close_fd(int *fd);
/* The next close() of @fd sends an RST. */
void fixture_abort_on_close(int fd);

/* Every byte or a failed test. */
void fixture_send(int fd, size_t n);
void fixture_recv(int fd, size_t n);
/* Reads until end of file; returns how much. */
size_t fixture_drain(int fd);
/*
 * What the collector is to tell of the handshake of @fd, just accepted: TCP_INFO's first smoothed RTT. 0: not known; whole
 * milliseconds look like a SYN cookie's (src/collect/tcp/README.md), unless the SYN-ACK was sent again.
 */
uint32_t fixture_handshake_us(int fd);
/* The accepting end of @c has these @n handshakes, and none besides. */
void fixture_assert_handshakes(const struct sonde_tcp_cell *c, const uint32_t *us, size_t n);
/* TCP_INFO's total_retrans. */
uint32_t fixture_total_retrans(int fd);
/* Bounded wait until all that was sent is acknowledged. */
void fixture_wait_acked(int fd);
/* Bounded wait until the other end's FIN or RST is here: on loopback too, ksoftirqd may bring it behind the sender's close(). */
void fixture_wait_end(int fd);
/* Snapshots, bounded, until @n connections of this end have closed and none is open: the last ACK may be late too. */
void fixture_wait_closed(struct fixture *f, enum sonde_tcp_role role, uint16_t port, uint64_t n);
/* The same of no number: where the ledger may tell of ends that no hook saw. */
void fixture_wait_none_open(struct fixture *f, enum sonde_tcp_role role, uint16_t port);
/* Bounded wait until a connection is in the accept queue: connect(2) may return before the listener has its ACK. */
void fixture_wait_queued(int listener);
void fixture_wait_ms(unsigned int ms);

/* Runs a shell command; false when it fails. */
bool fixture_run(const char *fmt, ...) __attribute__((__format__(__printf__, 1, 2)));
