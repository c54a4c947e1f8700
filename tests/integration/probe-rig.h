/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Probe rig: a real sonde-probe under the agent's client, with calls that wait for their end. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "agent/probe-client.h"

#define RIG_RECORDS_MAX 8192

struct rig {
	sd_event *event;
	struct sonde_probe_client *client;
	char dir[64];	 /* state folder and policy file, removed at the end */
	char policy[96]; /* path, in dir */
	struct sonde_probe_hello hello;
	unsigned int hellos, restarts, gone, task_ended;
	char words[256];		   /* of on_gone */
	struct sonde_probe_end end;	   /* of the last call; zero when it failed without one */
	int error;			   /* of the last call */
	struct sonde_probe_reply *records; /* of the last call */
	size_t n_records;
	bool ended;
};

/* @policy: text of the policy file, NULL = none. Asserts that the worker greets. */
void rig_start(struct rig *rig, const char *policy);
/* The same without waiting for HELLO: for a probe that ends at once. Return: sonde_probe_client_start()'s. */
int rig_start_only(struct rig *rig, const char *policy);
void rig_stop(struct rig *rig);

/* Sends and waits for the end. Return: END.error, or the client's error. */
int rig_call(struct rig *rig, const struct sonde_probe_request *request);
/* Turns the loop until *@flag is not 0. Asserts that it comes within 20 s. */
void rig_wait(struct rig *rig, const unsigned int *flag);

/* Folder for tests that need files alone. */
void rig_dir_make(struct rig *rig, const char *policy);
void rig_dir_remove(struct rig *rig);

/* Does the line "@key:" of /proc/PID/status say @value? */
bool rig_status_is(uint32_t pid, const char *key, const char *value);
/* Field 22 of stat, 0 if the process is gone. */
uint64_t rig_start_ticks(uint32_t pid);
/* Waits up to 10 s for the process to be gone (a zombie counts). */
bool rig_gone(uint32_t pid);

/* Exits 77 when this is not root with CAP_SYS_ADMIN. */
void rig_need_root(void);
