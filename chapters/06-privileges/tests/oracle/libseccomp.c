/* Asks libseccomp what it makes of rules: reads lines, prints the BPF program that it would load.
 *
 *   default ACTION                            begins a filter; what is not mentioned gets ACTION
 *   arch TOKEN                                calls of this architecture are answered too
 *   rule ACTION NAME COUNT (INDEX OP A B)...  all of COUNT conditions must hold
 *   number TOKEN NAME                         prints "number N" (below 0: no such call there)
 *   export                                    prints "CODE JT JF K" a line
 *
 * The declarations are libseccomp's stable interface, written out so that only the library itself is needed.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scmp_arg_cmp { unsigned int arg; int op; uint64_t a, b; };
struct sock_filter { uint16_t code; uint8_t jt, jf; uint32_t k; };

extern void *seccomp_init(uint32_t action);
extern int seccomp_attr_set(void *context, int attribute, uint32_t value);
extern int seccomp_arch_add(void *context, uint32_t token);
extern int seccomp_syscall_resolve_name(const char *name);
extern int seccomp_syscall_resolve_name_arch(uint32_t token, const char *name);
extern int seccomp_rule_add_array(void *context, uint32_t action, int number, unsigned int count,
                                  const struct scmp_arg_cmp *conditions);
extern int seccomp_export_bpf(void *context, int fd);

enum { ACT_BADARCH = 2, NO_CALL = -1 };

static void die(const char *what, const char *name, int error) {
    fprintf(stderr, "%s %s: %s\n", what, name, strerror(error));
    exit(1);
}

static void rule(void *context, char *rest) {
    struct scmp_arg_cmp conditions[6];
    uint32_t action = strtoul(strtok(rest, " "), NULL, 0);
    const char *name = strtok(NULL, " ");
    unsigned int count = strtoul(strtok(NULL, " \n"), NULL, 0);
    for (unsigned int i = 0; i < count; i++) {
        conditions[i].arg = strtoul(strtok(NULL, " "), NULL, 0);
        conditions[i].op = strtol(strtok(NULL, " "), NULL, 0);
        conditions[i].a = strtoull(strtok(NULL, " "), NULL, 0);
        conditions[i].b = strtoull(strtok(NULL, " \n"), NULL, 0);
    }
    int number = seccomp_syscall_resolve_name(name);
    if (number == NO_CALL)
        return; /* Younger than this libseccomp: the test leaves it out too. */
    int result = seccomp_rule_add_array(context, action, number, count, conditions);
    if (result != 0 && result != -EEXIST)
        die("rule for", name, -result);
}

static void export(void *context) {
    FILE *file = tmpfile();
    if (!file)
        die("make", "a temporary file", errno);
    int result = seccomp_export_bpf(context, fileno(file));
    if (result != 0)
        die("export", "", -result);
    rewind(file);
    struct sock_filter line;
    while (fread(&line, sizeof line, 1, file) == 1)
        printf("%u %u %u %u\n", line.code, line.jt, line.jf, line.k);
}

int main(void) {
    static char line[4096];
    void *context = NULL;
    while (fgets(line, sizeof line, stdin)) {
        char *rest = strchr(line, ' ');
        if (!strncmp(line, "default ", 8)) {
            context = seccomp_init(strtoul(rest, NULL, 0));
            if (!context || seccomp_attr_set(context, ACT_BADARCH, 0x80000000))
                die("begin", "a filter", EINVAL);
        } else if (!strncmp(line, "arch ", 5)) {
            int result = seccomp_arch_add(context, strtoul(rest, NULL, 0));
            if (result != 0 && result != -EEXIST)
                die("add architecture", rest, -result);
        } else if (!strncmp(line, "rule ", 5)) {
            rule(context, rest + 1);
        } else if (!strncmp(line, "number ", 7)) {
            uint32_t token = strtoul(strtok(rest, " "), NULL, 0);
            printf("number %d\n", seccomp_syscall_resolve_name_arch(token, strtok(NULL, " \n")));
        } else if (!strncmp(line, "export", 6)) {
            export(context);
        }
    }
    return 0;
}
