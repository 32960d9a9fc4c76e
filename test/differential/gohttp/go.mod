module chaperone.dev/test/differential

go 1.22
