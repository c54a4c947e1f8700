/* SPDX-License-Identifier: Apache-2.0 */
#include "udp-fixture.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "fixture.h"

static int raise_nothing(void *ctx, uint64_t caps)
{
	return 0;
}

static void drop_nothing(void *ctx)
{
}

/* The last word on each. */
static void keep_probe(struct udp_fixture *f, const struct sonde_probe_probe *probe)
{
	size_t i = 0;

	while (i < f->n_probes && (strcmp(f->probes[i].name, probe->name) != 0 ||
				   strcmp(f->probes[i].metrics, probe->metrics) != 0))
		i++;
	if (i == UDP_PROBES_MAX)
		return;
	f->probes[i] = *probe;
	if (i == f->n_probes)
		f->n_probes++;
}

static int keep(void *ctx, struct sonde_probe_reply *reply)
{
	struct udp_fixture *f = ctx;

	switch (reply->type) {
	case SONDE_PROBE_UDP_CELL:
		if (reply->udp_cell.index >= UDP_CELLS_MAX)
			return -ENOSPC;
		f->cells[reply->udp_cell.index] = reply->udp_cell;
		return 0;
	case SONDE_PROBE_UDP_LOSS:
		f->loss = reply->udp_loss;
		return 0;
	case SONDE_PROBE_FLOW:
		if (f->n_flows + reply->flow.n > UDP_FLOWS_MAX)
			return -ENOSPC;
		memcpy(f->flows + f->n_flows, reply->flow.flow,
		       reply->flow.n * sizeof(reply->flow.flow[0]));
		f->n_flows += reply->flow.n;
		return 0;
	case SONDE_PROBE_FLOW_REST:
		if (f->n_rests == UDP_RESTS_MAX)
			return -ENOSPC;
		f->rests[f->n_rests++] = reply->flow_rest;
		return 0;
	case SONDE_PROBE_PROCESS:
		f->n_processes++;
		return 0;
	case SONDE_PROBE_COST:
		if (f->n_costs < UDP_COSTS_MAX)
			f->costs[f->n_costs++] = reply->cost;
		return 0;
	case SONDE_PROBE_PROBE:
		keep_probe(f, &reply->probe);
		return 0;
	default:
		return -EINVAL;
	}
}

int udp_fixture_open(struct udp_fixture *f, const struct udp_fixture_options *options)
{
	_cleanup_close_ int cgroup_fd =
		options->without_cgroup
			? -1
			: open(fixture_cgroup_root(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct sonde_collect_config config = {
		.max_cells = options->max_cells ? options->max_cells : 1024,
		.max_targets = options->max_targets ? options->max_targets : 256,
		.options = SONDE_PROBE_OPTION_FLOWS,
		.signals = options->signals,
		.cgroup_fd = cgroup_fd,
		.raise = raise_nothing,
		.drop = drop_nothing,
	};
	int r;

	*f = (struct udp_fixture){.cells = calloc(UDP_CELLS_MAX, sizeof(*f->cells)),
				  .flows = calloc(UDP_FLOWS_MAX, sizeof(*f->flows))};
	if (!f->cells || !f->flows)
		return -ENOMEM;
	if (getenv("SONDE_TEST_DEBUG"))
		sonde_log_set_level(SONDE_LOG_DEBUG);
	r = sonde_collector_udp.start(&config, (struct sonde_collect_sink){.emit = keep, .ctx = f},
				      &f->timing, &f->state);
	if (r < 0)
		udp_fixture_close(f);
	return r;
}

void udp_fixture_close(struct udp_fixture *f)
{
	f->state = sonde_collector_udp.stop(f->state, &f->timing);
	free(f->cells);
	free(f->flows);
	f->cells = NULL;
	f->flows = NULL;
}

static struct udp_fixture shared;

static int setup(void **state)
{
	int r = udp_fixture_open(&shared, &(struct udp_fixture_options){0});

	if (r < 0)
		return r;
	*state = &shared;
	return sonde_collector_udp.target_add(shared.state, (uint32_t)getpid(), 1);
}

static int teardown(void **state)
{
	udp_fixture_close(&shared);
	return 0;
}

/* Before 5.11 no tracepoint reaches a socket's storage, and UDP has nothing else; so, too, without BTF. */
static bool is_without_storage(void)
{
	return libbpf_find_vmlinux_btf_id("bpf_sk_storage_get_tracing", BPF_TRACE_FENTRY) < 0;
}

/* True, with the reason on stderr, when BPF may not be loaded here. */
static bool is_refused(void)
{
	struct udp_fixture f;
	int r = udp_fixture_open(&f, &(struct udp_fixture_options){.max_cells = 16});

	if (r == 0)
		udp_fixture_close(&f);
	if (r < 0)
		(void)fprintf(stderr, "BPF is refused here: %s\n", strerror(-r));
	return r == -EPERM || (r == -EOPNOTSUPP && is_without_storage());
}

bool udp_fixture_attached(const struct udp_fixture *f, const char *name)
{
	for (size_t i = 0; i < f->n_probes; i++) {
		if (strcmp(f->probes[i].name, name) == 0 &&
		    f->probes[i].state == SONDE_PROBE_ATTACHED)
			return true;
	}
	return false;
}

int udp_fixture_main_(const char *name, const struct CMUnitTest *tests, size_t n)
{
	if (geteuid() != 0 || is_refused())
		return SONDE_EXIT_SKIP;
	return _cmocka_run_group_tests(name, tests, n, setup, teardown);
}

int udp_fixture_set_options(struct udp_fixture *f, uint32_t options)
{
	return sonde_collector_udp.set_options(f->state, options,
					       (struct sonde_collect_sink){.emit = keep, .ctx = f});
}

void udp_fixture_target(struct udp_fixture *f, pid_t pid, uint64_t task_mask)
{
	assert_ok(sonde_collector_udp.target_add(f->state, (uint32_t)pid, task_mask));
}

void udp_fixture_seed(struct udp_fixture *f)
{
	f->timing.seed_ns = f->timing.seeded_sockets = 0;
	assert_ok(sonde_collector_udp.seed(f->state, &f->timing));
}

void udp_fixture_snapshot(struct udp_fixture *f)
{
	f->n_processes = 0;
	f->n_costs = 0;
	f->n_flows = 0;
	f->n_rests = 0;
	assert_ok(sonde_collector_udp.snapshot(
		f->state, (struct sonde_collect_sink){.emit = keep, .ctx = f, .open_flows = 1000}));
}

static bool matches(const struct sonde_probe_udp_cell *c, pid_t pid, enum sonde_tcp_role role,
		    uint16_t port)
{
	return c->key.pid && c->key.role == role && (port == 0 || c->key.port == port) &&
	       (pid == 0 || c->key.pid == (uint32_t)pid);
}

struct sonde_udp_cell udp_fixture_sum(const struct udp_fixture *f, pid_t pid,
				      enum sonde_tcp_role role, uint16_t port)
{
	struct sonde_udp_cell sum = {0};
	uint64_t *to = (uint64_t *)&sum;

	for (size_t i = 0; i < UDP_CELLS_MAX; i++) {
		const uint64_t *from = (const uint64_t *)&f->cells[i].cell;

		if (!matches(&f->cells[i], pid, role, port))
			continue;
		for (size_t k = 0; k < sizeof(sum) / sizeof(*to); k++)
			to[k] += from[k];
	}
	return sum;
}

size_t udp_fixture_count(const struct udp_fixture *f, pid_t pid, enum sonde_tcp_role role,
			 uint16_t port)
{
	size_t n = 0;

	for (size_t i = 0; i < UDP_CELLS_MAX; i++)
		n += matches(&f->cells[i], pid, role, port);
	return n;
}

const struct sonde_probe_udp_cell *udp_fixture_cell(const struct udp_fixture *f, pid_t pid,
						    enum sonde_tcp_role role, uint16_t port)
{
	const struct sonde_probe_udp_cell *found = NULL;

	for (size_t i = 0; i < UDP_CELLS_MAX; i++) {
		if (!matches(&f->cells[i], pid, role, port))
			continue;
		if (found)
			fail_msg("more than one cell of role %d, port %u", role, port);
		found = &f->cells[i];
	}
	if (!found)
		fail_msg("no cell of role %d, port %u", role, port);
	return found;
}

uint64_t udp_fixture_loss(const struct udp_fixture *f, enum sonde_udp_loss site)
{
	return f->loss.count[site];
}

struct sockaddr_storage udp_address(int family, uint16_t port)
{
	struct sockaddr_storage a = {.ss_family = (sa_family_t)family};

	if (family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&a;

		in->sin_port = htons(port);
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	} else {
		struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a;

		in->sin6_port = htons(port);
		in->sin6_addr = in6addr_loopback;
	}
	return a;
}

socklen_t udp_address_size(int family)
{
	return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static uint16_t port_in(const struct sockaddr_storage *a)
{
	return ntohs(a->ss_family == AF_INET ? ((const struct sockaddr_in *)a)->sin_port
					     : ((const struct sockaddr_in6 *)a)->sin6_port);
}

uint16_t udp_port_of(int fd)
{
	struct sockaddr_storage a = {0};
	socklen_t size = sizeof(a);

	assert_ok(getsockname(fd, (struct sockaddr *)&a, &size));
	return port_in(&a);
}

int udp_socket(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

int udp_bound(int family, uint16_t *ret_port)
{
	struct sockaddr_storage a = udp_address(family, 0);
	int fd = udp_socket(family);

	assert_ok(bind(fd, (struct sockaddr *)&a, udp_address_size(family)));
	*ret_port = udp_port_of(fd);
	return fd;
}

int udp_connected(int family, uint16_t port)
{
	struct sockaddr_storage a = udp_address(family, port);
	int fd = udp_socket(family);

	assert_ok(connect(fd, (struct sockaddr *)&a, udp_address_size(family)));
	return fd;
}

static const char bytes[65536];

void udp_send_to(int fd, int family, uint16_t port, size_t n)
{
	struct sockaddr_storage a = udp_address(family, port);

	assert_int_equal(sendto(fd, bytes, n, 0, (struct sockaddr *)&a, udp_address_size(family)),
			 n);
}

void udp_send(int fd, size_t n)
{
	assert_int_equal(send(fd, bytes, n, 0), n);
}

uint16_t udp_receive_at_once(int fd, size_t n)
{
	static char room[65536];
	struct sockaddr_storage a = {0};
	socklen_t size = sizeof(a);

	assert_int_equal(recvfrom(fd, room, sizeof(room), 0, (struct sockaddr *)&a, &size), n);
	return port_in(&a);
}

uint16_t udp_receive(int fd, size_t n)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, 60000), 1);
	return udp_receive_at_once(fd, n);
}

int udp_enter_namespace(void)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(home >= 0);
	assert_ok(unshare(CLONE_NEWNET));
	assert_true(fixture_run("ip link set lo up"));
	return home;
}

void udp_leave_namespace(int home)
{
	assert_ok(setns(home, CLONE_NEWNET));
	(void)close(home);
}

void udp_wait_refused(int fd)
{
	struct pollfd p = {.fd = fd};

	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_true(p.revents & POLLERR);
}

/* The kernel's words of a socket: SK_MEMINFO_DROPS, how many found no room; SK_MEMINFO_RMEM_ALLOC, what waits. */
static uint32_t meminfo(int fd, unsigned int what)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);

	assert_ok(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len));
	return info[what];
}

size_t udp_take_what_has_room(int fd, size_t sent)
{
	size_t got = 0;

	for (int i = 0; i < 60000; i++) {
		char room[1000];

		while (meminfo(fd, SK_MEMINFO_DROPS) > 0 &&
		       recv(fd, room, sizeof(room), MSG_DONTWAIT) >= 0)
			got++;
		if (got + meminfo(fd, SK_MEMINFO_DROPS) == sent)
			return got;
		fixture_wait_ms(1);
	}
	fail_msg("%zu of %zu datagrams were taken, %u found no room", got, sent,
		 meminfo(fd, SK_MEMINFO_DROPS));
	return 0;
}

void udp_send_beyond_room(int to, int fd, size_t sent, size_t n)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint32_t each;

	udp_send(to, n);
	assert_int_equal(poll(&p, 1, 60000), 1);
	each = meminfo(fd, SK_MEMINFO_RMEM_ALLOC);
	for (size_t i = 1; i < sent; i++)
		udp_send(to, n);
	for (int i = 0; i < 60000; i++) {
		if (meminfo(fd, SK_MEMINFO_RMEM_ALLOC) / each + meminfo(fd, SK_MEMINFO_DROPS) ==
		    sent)
			return;
		fixture_wait_ms(1);
	}
	fail_msg("%u of %zu datagrams found no room", meminfo(fd, SK_MEMINFO_DROPS), sent);
}

/* Two lines a group: names, then numbers in the same order. */
static uint64_t snmp(const char *group, const char *name)
{
	char names[2048], values[2048], wanted[32];
	FILE *f = fopen("/proc/thread-self/net/snmp", "re");
	uint64_t found = 0;

	assert_non_null(f);
	(void)snprintf(wanted, sizeof(wanted), "%s:", group);
	while (fgets(names, sizeof(names), f) && fgets(values, sizeof(values), f)) {
		char *n, *v, *n_at = NULL, *v_at = NULL;

		n = strtok_r(names, " \n", &n_at);
		v = strtok_r(values, " \n", &v_at);
		if (!n || strcmp(n, wanted) != 0)
			continue;
		while (n && v && strcmp(n, name) != 0) {
			n = strtok_r(NULL, " \n", &n_at);
			v = strtok_r(NULL, " \n", &v_at);
		}
		assert_non_null(v);
		assert_ok(sonde_parse_u64(v, 0, UINT64_MAX, &found));
		break;
	}
	(void)fclose(f);
	return found;
}

static uint64_t snmp6(const char *group, const char *name)
{
	char line[256], wanted[64];
	FILE *f = fopen("/proc/thread-self/net/snmp6", "re");
	uint64_t found = 0;
	char *at = NULL;

	assert_non_null(f);
	(void)snprintf(wanted, sizeof(wanted), "%s%s", group, name);
	while (fgets(line, sizeof(line), f)) {
		size_t len = strcspn(line, " \t");

		if (len == strlen(wanted) && memcmp(line, wanted, len) == 0)
			assert_ok(sonde_parse_u64(strtok_r(line + len, " \t\n", &at), 0, UINT64_MAX,
						  &found));
	}
	(void)fclose(f);
	return found;
}

uint64_t udp_nstat(const char *group, const char *name)
{
	return strcmp(group, "Udp6") == 0 ? snmp6(group, name) : snmp(group, name);
}
