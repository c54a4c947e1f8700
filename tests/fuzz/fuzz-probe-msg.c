/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probe messages: a stream of them, cut as the length bytes say. As requests, what passes its check is
 * served over a fake collector and an empty /proc: every answer must pass the agent's check, end with one
 * END, and leave nothing running. The same bytes are read as a reply too.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "doubles/fake-collector.h"
#include "probe/policy.h"
#include "probe/serve.h"

#define MESSAGES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct answers {
	unsigned int ends;
};

static int check_reply(void *ctx, const struct sonde_probe_reply *reply)
{
	struct answers *a = ctx;
	const char *why;

	if (sonde_probe_reply_check(reply, sizeof(*reply), &why) < 0)
		abort();
	a->ends += reply->type == SONDE_PROBE_END;
	return 0;
}

static void serve(struct sonde_serve *s, const uint8_t *data, size_t size, struct answers *a)
{
	struct sonde_probe_request request;
	uint64_t last_id = 0, now_ns = 0;
	unsigned int asked = 0;
	const char *why;

	for (int i = 0; i < MESSAGES_MAX && size > 0; i++) {
		size_t n = data[0] == 0xff ? sizeof(request) : data[0];

		data++;
		size--;
		if (n > size)
			n = size;
		memset(&request, 0, sizeof(request));
		memcpy(&request, data, n < sizeof(request) ? n : sizeof(request));
		if (sonde_probe_request_check(&request, n, last_id, &why) < 0)
			return; /* the worker ends here */
		last_id = request.id;
		asked++;
		now_ns += request.pid_start_ticks; /* some time passes */
		if (sonde_serve_request(s, &request, now_ns) < 0 ||
		    sonde_serve_deadlines(s, now_ns) < 0 || a->ends != asked)
			abort();
		data += n;
		size -= n;
	}
}

static void as_requests(const uint8_t *data, size_t size)
{
	_cleanup_(sonde_policy_freep) struct sonde_policy *policy = NULL;
	_cleanup_(sonde_serve_freep) struct sonde_serve *s = NULL;
	_cleanup_free_ char *words = NULL;
	_cleanup_close_ int empty_fd = -1;
	struct answers a = {0};
	struct sonde_serve_config config;

	fake_collector = (struct fake_collector){.cells = 2};
	empty_fd = open("/proc/self/fdinfo",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* holds no stat files */
	if (sonde_policy_parse("", 0, "policy", "/dev/null", &policy, &words) < 0)
		return;
	config = (struct sonde_serve_config){
		.collectors = fake_collectors,
		.policy = policy,
		.proc_fd = empty_fd,
		.ids_fd = -1,
		.send = check_reply,
		.ctx = &a,
	};
	if (sonde_serve_new(&config, &s) < 0)
		return;
	serve(s, data, size, &a);
	s = sonde_serve_free(s);
	if (fake_collector.running)
		abort();
}

static void as_reply(const uint8_t *data, size_t size)
{
	struct sonde_probe_reply reply;
	const char *why;

	memset(&reply, 0, sizeof(reply));
	memcpy(&reply, data, size < sizeof(reply) ? size : sizeof(reply));
	if (sonde_probe_reply_check(&reply, size, &why) < 0)
		return;
	/* what the agent relies on */
	if (reply.type == SONDE_PROBE_EXE_PATH && strlen(reply.exe.path) >= sizeof(reply.exe.path))
		abort();
	if (reply.type == SONDE_PROBE_PID && reply.pids.n > ELEMENTS_OF(reply.pids.pid))
		abort();
	if (reply.type == SONDE_PROBE_END && reply.end.error > 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	as_requests(data, size);
	as_reply(data, size);
	return 0;
}
