/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Probe messages: what sonde-agent and the worker of sonde-probe say to each
 * other over one SOCK_SEQPACKET pair. Every request is exactly struct
 * sonde_probe_request, every reply exactly struct sonde_probe_reply; any other
 * size, version, type or an id that does not grow ends the worker. Nothing is
 * ever allocated from a length in a message. A packet is one request, or 1 to
 * SONDE_PROBE_PACKET_MAX replies: a packet for each record of a thousand cells
 * was half of what the agent's processes cost.
 *
 * The agent asks, the worker answers in order: 0 or more records (type of the
 * record) and then one SONDE_PROBE_END, all with the request's id. The worker
 * speaks unasked (id 0) only to say HELLO once, when it is ready, and TASK_ENDED when it ended a task
 * by itself (deadline of the policy).
 *
 * Numbers are in host order (one machine). Text is NUL-terminated; the sender
 * zero-fills, the receiver checks the NUL.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "bpf/lib/flow_types.h"
#include "bpf/tcp/tcp_types.h"
#include "bpf/udp/udp_types.h"

#define SONDE_PROBE_VERSION 1
#define SONDE_PROBE_STATE_DIR                                                                      \
	"/var/lib/sonde-agent" /* where ids are noted, if no other folder is named */
#define SONDE_PROBE_TASKS_MAX 32
#define SONDE_PROBE_PATH_MAX 256 /* with NUL: paths of at most 255 bytes */
#define SONDE_PROBE_TEXT_MAX 128
#define SONDE_PROBE_COMM_MAX 17 /* with NUL */
#define SONDE_PROBE_HIST_CHUNK 112
#define SONDE_PROBE_FLOW_CHUNK 5
#define SONDE_PROBE_PACKET_MAX 16 /* replies in a packet */

enum sonde_probe_request_type {
	/*
	 * Admit a task under the node's policy. Attaches nothing, but where other tasks run already the hooks of its
	 * signals that none of them asked for: a snapshot behind this is its base. An occupied slot: the same task with another
	 * duration (from its start), its targets stay. END.error: 0, -EPERM, -ENOSPC (END.text = rule).
	 * END.numbers[0]: the options that it gets; without SONDE_PROBE_OPTION_FLOWS if that was asked for and
	 * cannot be, END.text then says why.
	 */
	SONDE_PROBE_TASK_ADMIT = 1,
	/* Add a pid to an admitted or started task's targets. END.error: 0, -ESRCH (gone), -EPERM (END.text = rule), -ENOSPC. */
	SONDE_PROBE_TARGET_ADD = 2,
	/*
	 * Attach if nothing is attached yet, seed the task's targets, make cells ready for its first
	 * snapshot. Records: PROBE. END.numbers: open, load, attach, seed ns; seeded sockets; PROBE records
	 * beyond the bound. An error frees the slot, as TASK_END would. END.text may be words on a partial start.
	 */
	SONDE_PROBE_TASK_START = 3,
	/* End a task (detaches after the last one). END.numbers: detach ns. Records: IDLE when it was the last. -ENOENT. */
	SONDE_PROBE_TASK_END = 4,
	/*
	 * Read everything: records CELL, CALLS and HIST (behind their CELL), UDP_CELL, DROP, PROCESS, LOSS, UDP_LOSS,
	 * COST. Only cells that changed since the previous snapshot; values are cumulative since attach. With
	 * SONDE_PROBE_OPTION_FLOWS also FLOW (those that ended since the previous snapshot, once each, and
	 * the open_flows largest of the open ones) and FLOW_REST (the others).
	 */
	SONDE_PROBE_SNAPSHOT = 5,
	/* Records PID: every pid of the probe's PID namespace (for hidepid). END.numbers[0]: 1 = cut. */
	SONDE_PROBE_LIST_PIDS = 6,
	/* Records EXE for request.pid. END.error: 0, -ESRCH, -EACCES. */
	SONDE_PROBE_EXE = 7,
	/*
	 * Records LISTENER: every listening TCP port of every process, with its network namespace.
	 * END.numbers, what was cut: processes, descriptors, namespaces, sockets, listeners; unreadable processes.
	 */
	SONDE_PROBE_LISTENERS = 8,
	/*
	 * Records PROBE (what would be attached and why not the rest), no attach. With collectors 0 of all
	 * collectors and options, for --doctor; else of a task that asks for collectors, options, max_peers and
	 * duration_ns, if the policy lets it (END.error as of TASK_ADMIT). END.numbers: bytes of maps at the start, at
	 * most.
	 */
	SONDE_PROBE_PLAN = 9,
	/* Asks the ids of <state>/bpf-ids; record IDLE_PROOF. */
	SONDE_PROBE_IDLE_PROOF = 10,
	/* Would TARGET_ADD of pid be taken? The same errors but -ENOSPC; no task is needed, nothing changes. */
	SONDE_PROBE_TARGET_JUDGE = 11,
	_SONDE_PROBE_REQUEST_MAX,
};

struct sonde_probe_request {
	uint32_t version; /* SONDE_PROBE_VERSION */
	uint32_t type;	  /* enum sonde_probe_request_type */
	uint64_t id;	  /* from 1, grows */
	uint32_t task;	  /* the agent's slot, below SONDE_PROBE_TASKS_MAX; tasks, targets */
	uint32_t pid;	  /* TARGET_ADD, TARGET_JUDGE, EXE */
	uint64_t
		pid_start_ticks; /* TARGET_ADD, TARGET_JUDGE: field 22 of stat, so that a reused pid is not taken */
	uint64_t
		duration_ns; /* TASK_ADMIT, PLAN: the worker ends the task itself 10 s after this */
	uint32_t collectors; /* TASK_ADMIT, PLAN: bit mask, SONDE_PROBE_COLLECT_* */
	uint32_t options;    /* TASK_ADMIT, PLAN: bit mask, SONDE_PROBE_OPTION_* */
	uint32_t max_peers;  /* TASK_ADMIT, PLAN: 0 = 4,096, or the policy's where that is less */
	uint32_t open_flows; /* SNAPSHOT: how many open connections are told one by one */
	uint64_t
		max_map_bytes; /* TASK_ADMIT, PLAN: 0 = none; the tables are made small enough, or END.error -ENOSPC */
	uint32_t
		signals; /* TASK_ADMIT, PLAN: bit mask, SONDE_SIGNAL_BIT(); 0 = all of the collectors */
	uint32_t pad;
	uint64_t pad2[7];
};
_Static_assert(sizeof(struct sonde_probe_request) == 128, "request layout");

#define SONDE_PROBE_COLLECT_TCP (1U << 0)
#define SONDE_PROBE_COLLECT_UDP (1U << 1)
#define SONDE_PROBE_OPTION_EXECUTION_TIME (1U << 0)
#define SONDE_PROBE_OPTION_FLOWS (1U << 8)

/* The metrics of SONDE_PROBE_OPTION_EXECUTION_TIME, as their PROBE records call them. */
#define SONDE_PROBE_METRICS_CALL_TIME "execution time of writes and reads"
#define SONDE_PROBE_METRICS_CALL_SLEEP "time asleep in writes and reads"
#define SONDE_PROBE_METRICS_ACCEPT "accept(2) calls, time in the accept queue"
#define SONDE_PROBE_METRICS_LOCAL_CONNECT "connects that fail before a SYN"
#define SONDE_PROBE_METRICS_CLOSE_TIME "execution time of close"
#define SONDE_PROBE_METRICS_UDP_TIMES "execution time of UDP sends and reads"

enum sonde_probe_reply_type {
	SONDE_PROBE_HELLO = 1,
	SONDE_PROBE_END = 2,
	SONDE_PROBE_CELL = 3,
	SONDE_PROBE_HIST = 4,
	SONDE_PROBE_DROP = 5,
	SONDE_PROBE_PROCESS = 6,
	SONDE_PROBE_LOSS = 7,
	SONDE_PROBE_COST = 8,
	SONDE_PROBE_PROBE = 9,
	SONDE_PROBE_PID = 10,
	SONDE_PROBE_EXE_PATH = 11,
	SONDE_PROBE_LISTENER = 12,
	SONDE_PROBE_IDLE = 13,
	SONDE_PROBE_TASK_ENDED = 14,
	SONDE_PROBE_FLOW = 15,
	SONDE_PROBE_FLOW_REST = 16,
	SONDE_PROBE_CALLS = 18,
	SONDE_PROBE_UDP_CELL = 19,
	SONDE_PROBE_UDP_LOSS = 20,
	_SONDE_PROBE_REPLY_MAX,
};

struct sonde_probe_hello {
	uint32_t worker_pid;
	uint32_t keeper_pid;
	uint32_t restarts;  /* of the worker, since the keeper started */
	uint32_t max_tasks; /* of the policy */
	uint64_t max_duration_ns;
	uint32_t max_peers;
	uint32_t bpf_error; /* 0, or the errno that BPF was refused with at the first try */
	char missing
		[SONDE_PROBE_TEXT_MAX]; /* of bpf_error: the capability or lock-down that is in the way */
};

struct sonde_probe_end {
	int32_t error; /* 0 or -errno */
	uint32_t pad;
	uint64_t records; /* how many came before this */
	uint64_t numbers[6];
	char text[SONDE_PROBE_TEXT_MAX]; /* why, or the policy rule's name */
};

struct sonde_probe_cell {
	uint32_t index; /* stable while attached; DROP and HIST refer to it */
	uint32_t pad;
	struct sonde_tcp_cell_key key;
	struct sonde_tcp_cell cell;
};

/* Its indices are the UDP collector's own. */
struct sonde_probe_udp_cell {
	uint32_t index;
	uint32_t pad;
	struct sonde_tcp_cell_key key;
	struct sonde_udp_cell cell;
};

enum sonde_probe_hist_kind {
	SONDE_PROBE_HIST_RTT = 0,
	SONDE_PROBE_HIST_HANDSHAKE = 1,
	SONDE_PROBE_HIST_AGE = 2, /* of connections at their end: the buckets are of milliseconds */
	SONDE_PROBE_HIST_CALL = 3, /* + enum sonde_tcp_call_hist */
	_SONDE_PROBE_HIST_MAX = SONDE_PROBE_HIST_CALL + SONDE_TCP_CALL_HIST_MAX,
};
struct sonde_probe_hist {
	uint32_t index; /* cell */
	uint16_t kind;
	uint16_t n; /* pairs used; several HIST records may follow for one cell */
	struct {
		uint16_t bucket;
		uint16_t pad;
		uint32_t count; /* cumulative */
	} pair[SONDE_PROBE_HIST_CHUNK];
};

struct sonde_probe_drop {
	struct sonde_tcp_drop_key
		key; /* site: a number for the call site, stable while attached; 0 = not known */
	uint32_t drop_class;	    /* enum sonde_drop_class of src/model/drop-class.h */
	struct sonde_tcp_drop drop; /* cumulative */
	char reason[64]; /* the running kernel's name, without SKB_DROP_REASON_ or SK_RST_REASON_ */
	char site[64];	 /* function that dropped it; "" where kernel symbols are hidden */
};

/* Behind its CELL, when it changed; cumulative. */
struct sonde_probe_calls {
	uint32_t index; /* cell */
	uint32_t pad;
	struct sonde_tcp_calls calls;
};

/* A target's process, and those that it forked while attached. */
struct sonde_probe_process {
	uint32_t pid;
	uint32_t root_pid; /* the named target that it descends from; itself for a named one */
	uint32_t state;	   /* enum sonde_probe_process_state */
	uint32_t pad;
	uint64_t task_mask; /* bit = request.task */
};
enum sonde_probe_process_state {
	SONDE_PROBE_PROCESS_LIVE = 0,
	SONDE_PROBE_PROCESS_FORKED = 1, /* came in mid-task */
	SONDE_PROBE_PROCESS_EXITED = 2,
};

struct sonde_probe_loss {
	uint64_t count[SONDE_TCP_LOSS_MAX]; /* cumulative */
};

struct sonde_probe_udp_loss {
	uint64_t count[SONDE_UDP_LOSS_MAX]; /* cumulative */
};

struct sonde_probe_cost {
	char name[40]; /* of the program, once among all collectors */
	uint64_t runs;
	uint64_t sampled_runs;
	uint64_t sampled_ns;
	uint64_t discarded_runs; /* timed, but over 5 us: an interrupt ran meanwhile; in no time */
	uint64_t
		hook_ns_x1000; /* calibrated overhead of an empty program on this kind of hook, ns x 1,000 */
	uint64_t map_bytes; /* on the first record only: memory of all maps */
};

/* One alternative of one metric; those of a metric (the same metrics) follow each other, the best first. */
struct sonde_probe_probe {
	char name[48]; /* "tp_btf/kfree_skb" */
	char metrics[96];
	uint32_t state; /* enum sonde_probe_probe_state */
	uint32_t core;	/* 1: a metric that no task can run without; 0: it may be absent */
	char reason[SONDE_PROBE_TEXT_MAX];
	char less[96]; /* what this alternative does not give and the first one does */
	char per[32];  /* what one run is of: "send", "ACK", "system call" */
	uint32_t
		target_ns; /* a run on what a task asked for, with the hook; measured on 6.18, 0 = nothing */
	uint32_t other_ns;   /* … on what no task asked for: what the rest of the machine pays */
	char capability[24]; /* that is missing: "CAP_NET_ADMIN"; else "" */
};

enum sonde_probe_probe_state {
	SONDE_PROBE_ABSENT =
		0, /* not to be had, for the reason, and nothing else measures the metric */
	SONDE_PROBE_ATTACHED =
		1, /* measures the metric, or would (reason: when it is attached later) */
	SONDE_PROBE_REPLACED =
		2, /* not to be had, for the reason; a later alternative measures the metric */
	SONDE_PROBE_SPARE = 3,	 /* not wanted: an earlier alternative measures the metric */
	SONDE_PROBE_UNASKED = 4, /* its option was not asked for */
	_SONDE_PROBE_PROBE_STATE_MAX,
};
/* "absent", "attached", …; "?" for others. */
const char *sonde_probe_probe_state_name(uint32_t state);
/* The same in a plan, by which nothing is attached: "chosen" for ATTACHED. */
const char *sonde_probe_plan_state_name(uint32_t state);

struct sonde_probe_pid {
	uint32_t n;
	uint32_t pid[200];
};

struct sonde_probe_exe {
	uint32_t pid;
	uint32_t cut; /* 1: longer than 255 bytes, this is its head */
	char path[SONDE_PROBE_PATH_MAX];
	uint64_t
		start_ticks; /* field 22 of stat, 0 = unknown; with comm for where hidepid hides them */
	char comm[SONDE_PROBE_COMM_MAX];
	char pad[7];
};

struct sonde_probe_listener {
	uint64_t netns;	      /* net cookie */
	uint32_t netns_inode; /* of /proc/PID/ns/net */
	uint32_t pid;
	uint16_t port;
	uint16_t family;  /* AF_INET, AF_INET6 */
	uint8_t addr[16]; /* as in a cell's key; all zero = any */
};

struct sonde_probe_idle {
	uint32_t programs, maps, links; /* noted at load */
	uint32_t bpf_fds_left;
	uint32_t ids_asked; /* 0: no CAP_SYS_ADMIN */
	uint32_t ids_alive;
	uint64_t wait_ns;
};

struct sonde_probe_task_ended {
	uint32_t task;
	uint32_t pad;
	char reason[SONDE_PROBE_TEXT_MAX];
};

struct sonde_probe_flow {
	uint32_t n;
	uint32_t pad;
	struct sonde_flow flow[SONDE_PROBE_FLOW_CHUNK];
};

struct sonde_probe_flow_rest {
	struct sonde_flow_rest_key key;
	struct sonde_flow_rest rest;
};

struct sonde_probe_reply {
	uint32_t version;
	uint32_t type; /* enum sonde_probe_reply_type */
	uint64_t id;   /* of the request; 0 = unasked */
	union {
		struct sonde_probe_hello hello;
		struct sonde_probe_end end;
		struct sonde_probe_cell cell;
		struct sonde_probe_udp_cell udp_cell;
		struct sonde_probe_hist hist;
		struct sonde_probe_drop drop;
		struct sonde_probe_calls calls;
		struct sonde_probe_process process;
		struct sonde_probe_loss loss;
		struct sonde_probe_udp_loss udp_loss;
		struct sonde_probe_cost cost;
		struct sonde_probe_probe probe;
		struct sonde_probe_pid pids;
		struct sonde_probe_exe exe;
		struct sonde_probe_listener listener;
		struct sonde_probe_idle idle;
		struct sonde_probe_task_ended task_ended;
		struct sonde_probe_flow flow;
		struct sonde_probe_flow_rest flow_rest;
		uint8_t bytes[1008];
	};
};
_Static_assert(sizeof(struct sonde_probe_reply) == 1024, "reply layout");

/*
 * What a receiver asks of a message before it looks at anything else. @n: bytes that recv(2)
 * gave with MSG_TRUNC. *@ret_why: a literal naming what is wrong, on failure only.
 * Return: 0, -EBADMSG.
 */
/* @last_id: of the request before this one, 0 at first. */
int sonde_probe_request_check(const struct sonde_probe_request *request, size_t n, uint64_t last_id,
			      const char **ret_why) _must_check_;
/* Counts, indexes below their limits, and every text with its NUL; what the numbers mean is not judged. */
int sonde_probe_reply_check(const struct sonde_probe_reply *reply, size_t n,
			    const char **ret_why) _must_check_;

/* "TASK_ADMIT", …; "?" for others. */
const char *sonde_probe_request_name(uint32_t type);
