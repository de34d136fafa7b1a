using System.Security.Cryptography;

namespace EfEnvelope.KeyManagement;

/// <summary>A root key that lives and dies with the process: for tests.</summary>
internal sealed class InMemoryKeyManagementService : LocalRootKey
{
    private readonly Root _root = new($"memory:{Guid.NewGuid():D}", RandomNumberGenerator.GetBytes(32));

    public override string Provider => "memory";

    protected override Task<Root> GetRootKeyAsync(CancellationToken cancellationToken) => Task.FromResult(_root);
}
