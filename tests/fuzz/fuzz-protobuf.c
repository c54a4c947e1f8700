/* SPDX-License-Identifier: Apache-2.0 */
/* Byte 0: which message, the rest: its bytes. What can be read can be written, and reads and writes the same again. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "skywalking/v3/common.pb-c.h"
#include "skywalking/v3/management.pb-c.h"
#include "skywalking/v3/meter.pb-c.h"
#include "skywalking/v3/process.pb-c.h"
#include "skywalking/v3/profile.pb-c.h"
#include "sonde/v1/task.pb-c.h"
#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All that the server and the agent receive. Only append: the corpus names them by number. */
static const ProtobufCMessageDescriptor *const messages[] = {
	&skywalking__v3__commands__descriptor,
	&skywalking__v3__meter_data__descriptor,
	&skywalking__v3__meter_data_collection__descriptor,
	&skywalking__v3__ebpfprocess_report_list__descriptor,
	&skywalking__v3__ebpfprocess_ping_pkg_list__descriptor,
	&skywalking__v3__ebpfreport_process_downstream__descriptor,
	&skywalking__v3__ebpfprofiling_task_query__descriptor,
	&skywalking__v3__instance_properties__descriptor,
	&skywalking__v3__instance_ping_pkg__descriptor,
	&sonde__v1__task_report__descriptor,
	&sonde__v1__task_report_answer__descriptor,
	&sonde__v1__watch_request__descriptor,
	&sonde__v1__control__descriptor,
	&sonde__v1__task_spec__descriptor,
};

/* Reads @data and appends what is written of it to @out. Return: 0, -EMSGSIZE, -errno. */
static int again(const ProtobufCMessageDescriptor *d, const uint8_t *data, size_t n,
		 struct sonde_buf *out)
{
	_cleanup_(sonde_wire_freep) ProtobufCMessage *m = NULL;
	int r;

	r = sonde_wire_unpack(d, data, n, NULL, &m);
	if (r < 0)
		return r;
	return sonde_wire_pack(m, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct sonde_buf first = SONDE_BUF_INIT(64 << 20),
				       second = SONDE_BUF_INIT(64 << 20);
	const ProtobufCMessageDescriptor *d;
	int r;

	if (size < 1 || data[0] >= ELEMENTS_OF(messages))
		return 0;
	d = messages[data[0]];
	if (again(d, data + 1, size - 1, &first) < 0)
		return 0;
	r = again(d, first.data, first.len, &second);
	if (r == -EMSGSIZE || r == -ENOMEM)
		return 0;
	if (r < 0 || first.len != second.len ||
	    (first.len > 0 && memcmp(first.data, second.data, first.len) != 0))
		abort();
	return 0;
}
