/* UDP echo server without Python: how many requests the system can do. Usage: udp PORT (0: any). */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    static char data[65536];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int server = socket(AF_INET, SOCK_DGRAM, 0);

    if (argc != 2)
        return 2;
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    if (bind(server, (struct sockaddr *)&address, length) || getsockname(server, (struct sockaddr *)&address, &length)) {
        perror("udp");
        return 1;
    }
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        struct sockaddr_in sender;
        socklen_t size = sizeof sender;
        ssize_t received = recvfrom(server, data, sizeof data, 0, (struct sockaddr *)&sender, &size);
        if (received < 0 || sendto(server, data, (size_t)received, 0, (struct sockaddr *)&sender, size) < 0) {
            perror("udp");
            return 1;
        }
    }
}
