/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Fixture of the UDP collector's kernel tests: the collector run in this process,
 * its cells kept by index, and real sockets. One collector a test program; the
 * tests take their own ports, so that they can share it.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/types.h>

#include "sonde-test.h"

#include "collect/collector.h"

#define UDP_CELLS_MAX 4096
#define UDP_PROBES_MAX 32
#define UDP_COSTS_MAX 32
#define UDP_FLOWS_MAX 32768
#define UDP_RESTS_MAX 64

#define UDP_CLIENT SONDE_TCP_ROLE_CLIENT
#define UDP_SERVER SONDE_TCP_ROLE_SERVER

struct udp_fixture {
	void *state;
	struct sonde_collect_timing timing;
	struct sonde_probe_udp_cell *cells; /* by index; key.pid 0 = not told */
	struct sonde_probe_udp_loss loss;
	struct sonde_probe_probe probes[UDP_PROBES_MAX];
	size_t n_probes;
	struct sonde_probe_cost costs[UDP_COSTS_MAX];
	size_t n_costs;
	size_t n_processes;	  /* of the last snapshot */
	struct sonde_flow *flows; /* of the last snapshot; owned */
	size_t n_flows;
	struct sonde_probe_flow_rest rests[UDP_RESTS_MAX]; /* of the last snapshot */
	size_t n_rests;
};

/* Values of 0 mean the default: 1,024 cells, 256 targets, the root of cgroup v2. */
struct udp_fixture_options {
	uint32_t max_cells;
	uint32_t max_targets;
	bool without_cgroup;
	uint32_t signals; /* whose hooks are attached: SONDE_SIGNAL_BIT(); 0 = all */
};

/* Return: 0, or what start() refused with. */
int udp_fixture_open(struct udp_fixture *f, const struct udp_fixture_options *options);
void udp_fixture_close(struct udp_fixture *f);
/* Runs the tests over one collector with this process as its target; SONDE_EXIT_SKIP when BPF is refused here. */
int udp_fixture_main_(const char *name, const struct CMUnitTest *tests, size_t n);
#define udp_fixture_main(tests) udp_fixture_main_(#tests, tests, sizeof(tests) / sizeof((tests)[0]))

/* Whether a PROBE record says so of the hook of this name. */
bool udp_fixture_attached(const struct udp_fixture *f, const char *name);

int udp_fixture_set_options(struct udp_fixture *f, uint32_t options);
void udp_fixture_target(struct udp_fixture *f, pid_t pid, uint64_t task_mask);
void udp_fixture_seed(struct udp_fixture *f);
void udp_fixture_snapshot(struct udp_fixture *f);

/* Sum over the cells of one role and service port (0 = any); @pid 0 = of every process. */
struct sonde_udp_cell udp_fixture_sum(const struct udp_fixture *f, pid_t pid,
				      enum sonde_tcp_role role, uint16_t port);
/* How many cells that is. */
size_t udp_fixture_count(const struct udp_fixture *f, pid_t pid, enum sonde_tcp_role role,
			 uint16_t port);
/* The only one; a failed test when there is none or several. */
const struct sonde_probe_udp_cell *udp_fixture_cell(const struct udp_fixture *f, pid_t pid,
						    enum sonde_tcp_role role, uint16_t port);
uint64_t udp_fixture_loss(const struct udp_fixture *f, enum sonde_udp_loss site);

/* Addresses of loopback: AF_INET, AF_INET6. */
struct sockaddr_storage udp_address(int family, uint16_t port);
socklen_t udp_address_size(int family);
uint16_t udp_port_of(int fd);
int udp_socket(int family);
/* Bound to loopback, to a port that is free. */
int udp_bound(int family, uint16_t *ret_port);
int udp_connected(int family, uint16_t port);
/* sendto() of @n bytes that must go. */
void udp_send_to(int fd, int family, uint16_t port, size_t n);
/* send() on a connected one. */
void udp_send(int fd, size_t n);
/* recvfrom() with the sender's address, within a minute; returns its port. @n: what must come. */
uint16_t udp_receive(int fd, size_t n);
/* The same in the one call, however long it takes. */
uint16_t udp_receive_at_once(int fd, size_t n);

/* A new network namespace with loopback up, in which nobody else speaks; back with udp_leave_namespace(). */
int udp_enter_namespace(void);
void udp_leave_namespace(int home);

/* Until the answer to a refused datagram has come. */
void udp_wait_refused(int fd);
/*
 * Takes @sent datagrams as they come, however late, less those that find no room; it begins once some have not.
 * Return: how many it took.
 */
size_t udp_take_what_has_room(int fd, size_t sent);
/* Sends @sent datagrams of @n bytes until each is in the buffer of @fd, which was empty, or found no room; nobody reads. */
void udp_send_beyond_room(int to, int fd, size_t sent, size_t n);

/* One number of /proc/net/snmp ("Udp", "InDatagrams") or, with @group "Udp6", of snmp6. */
uint64_t udp_nstat(const char *group, const char *name);
