using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Amazon.KeyManagementService;
using Amazon.Runtime;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace EfEnvelope.Tests.KeyManagement.FakeKms;

/// <summary>
/// Speaks AWS KMS's JSON protocol over real HTTP: several keys, aliases, key states, key material that rotates, and the encryption context authenticated exactly. Records every
/// request, and fails on demand.
/// </summary>
public sealed class FakeKmsServer : IAsyncDisposable
{
    /// <summary>The status of a request that is not answered at all.</summary>
    public const int Silence = -1;

    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, FakeKey> _keys = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> _aliases = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<Fault> _faults = new();

    private FakeKmsServer(WebApplication app) => _app = app;

    public string Url { get; private set; } = "";

    /// <summary>Operation and body of each request, in order.</summary>
    public ConcurrentQueue<(string Operation, string Body)> Requests { get; } = new();

    /// <summary>Region that each request was signed for, in order.</summary>
    public ConcurrentQueue<string> SigningRegions { get; } = new();

    /// <summary>What the SDK says of each request: which attempt it is, of how many.</summary>
    public ConcurrentQueue<string> Attempts { get; } = new();

    /// <summary>Operations that the caller may not call.</summary>
    public ConcurrentDictionary<string, bool> Denied { get; } = new(StringComparer.Ordinal);

    public static async Task<FakeKmsServer> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var app = builder.Build();
        var server = new FakeKmsServer(app);
        app.Run(server.HandleAsync);
        await app.StartAsync();
        server.Url = app.Urls.Single();
        return server;
    }

    public int Count(string operation) => Requests.Count(r => r.Operation == operation);

    /// <summary>Makes a key and returns its ARN.</summary>
    public string CreateKey(string? alias = null, bool multiRegion = false)
    {
        var key = new FakeKey($"arn:aws:kms:us-east-1:111122223333:key/{(multiRegion ? $"mrk-{Guid.NewGuid():N}" : $"{Guid.NewGuid():D}")}");
        _keys[key.Arn] = key;
        if (alias is not null)
        {
            _aliases[alias] = key.Arn;
        }

        return key.Arn;
    }

    /// <summary>Makes a replica of a multi-Region key, and takes the primary away: an endpoint knows the keys of its own Region only.</summary>
    public string MoveToReplica(string arn, string region)
    {
        _keys.TryRemove(arn, out var primary);
        var parts = arn.Split(':');
        parts[3] = region;
        var replica = new FakeKey(string.Join(':', parts), primary);
        _keys[replica.Arn] = replica;
        return replica.Arn;
    }

    public void PointAlias(string alias, string arn) => _aliases[alias] = arn;

    public void SetState(string arn, string state) => _keys[arn].State = state;

    public void RotateMaterial(string arn) => _keys[arn].Rotate();

    /// <summary>Fails the next requests with an error type and status; status 0 drops the connection, <see cref="Silence"/> never answers.</summary>
    public void FailNext(string errorType, int status, int times = 1)
    {
        for (var i = 0; i < times; i++)
        {
            _faults.Enqueue(new Fault(errorType, status));
        }
    }

    public void StopFailing() => _faults.Clear();

    public IAmazonKeyManagementService CreateClient(int retries = 0, TimeSpan? timeout = null)
        => new AmazonKeyManagementServiceClient(
            new BasicAWSCredentials("test", "test"),
            new AmazonKeyManagementServiceConfig { ServiceURL = Url, AuthenticationRegion = "us-east-1", MaxErrorRetry = retries, Timeout = timeout ?? TimeSpan.FromSeconds(5) });

    public async ValueTask DisposeAsync() => await _app.DisposeAsync();

    private async Task HandleAsync(HttpContext http)
    {
        var operation = http.Request.Headers["X-Amz-Target"].ToString().Replace("TrentService.", "", StringComparison.Ordinal);
        using var reader = new StreamReader(http.Request.Body);
        var body = await reader.ReadToEndAsync();
        Requests.Enqueue((operation, body));
        Attempts.Enqueue(http.Request.Headers["amz-sdk-request"].ToString());

        // AWS4-HMAC-SHA256 Credential=id/date/region/service/aws4_request, ...
        SigningRegions.Enqueue(http.Request.Headers.Authorization.ToString().Split('/') is [_, _, var region, ..] ? region : "");
        if (_faults.TryDequeue(out var fault))
        {
            if (fault.Status == 0)
            {
                http.Abort();
                return;
            }

            if (fault.Status == Silence)
            {
                var gone = new TaskCompletionSource();
                await using var registration = http.RequestAborted.Register(gone.SetResult);
                await gone.Task;
                return;
            }

            await AnswerAsync(http, fault.Status, new JsonObject { ["__type"] = fault.ErrorType, ["message"] = "injected" });
            return;
        }

        if (Denied.ContainsKey(operation))
        {
            await AnswerAsync(http, 400, new JsonObject { ["__type"] = "AccessDeniedException", ["message"] = "denied" });
            return;
        }

        try
        {
            await AnswerAsync(http, 200, Execute(operation, JsonNode.Parse(body)!.AsObject()));
        }
        catch (KmsError error)
        {
            await AnswerAsync(http, 400, new JsonObject { ["__type"] = error.Type, ["message"] = error.Type });
        }
    }

    private static Task AnswerAsync(HttpContext http, int status, JsonObject body)
    {
        http.Response.StatusCode = status;
        http.Response.ContentType = "application/x-amz-json-1.1";
        return http.Response.WriteAsync(body.ToJsonString());
    }

    private JsonObject Execute(string operation, JsonObject request)
    {
        switch (operation)
        {
            case "GenerateDataKey":
            {
                var key = Usable(Text(request, "KeyId"));
                var plaintext = RandomNumberGenerator.GetBytes(request["NumberOfBytes"]!.GetValue<int>());
                return new JsonObject
                {
                    ["KeyId"] = key.Arn,
                    ["Plaintext"] = Convert.ToBase64String(plaintext),
                    ["CiphertextBlob"] = Convert.ToBase64String(key.Wrap(plaintext, Context(request, "EncryptionContext"))),
                    ["KeyMaterialId"] = key.MaterialId,
                };
            }

            case "Encrypt":
            {
                var key = Usable(Text(request, "KeyId"));
                return new JsonObject { ["KeyId"] = key.Arn, ["CiphertextBlob"] = Convert.ToBase64String(key.Wrap(Bytes(request, "Plaintext"), Context(request, "EncryptionContext"))) };
            }

            case "Decrypt":
            {
                var blob = Bytes(request, "CiphertextBlob");
                var key = Usable(Text(request, "KeyId"));
                return new JsonObject { ["KeyId"] = key.Arn, ["Plaintext"] = Convert.ToBase64String(Unwrap(key, blob, Context(request, "EncryptionContext"))) };
            }

            case "ReEncrypt":
            {
                var source = Usable(Text(request, "SourceKeyId"));
                var destination = Usable(Text(request, "DestinationKeyId"));
                var plaintext = Unwrap(source, Bytes(request, "CiphertextBlob"), Context(request, "SourceEncryptionContext"));
                return new JsonObject
                {
                    ["KeyId"] = destination.Arn,
                    ["SourceKeyId"] = source.Arn,
                    ["CiphertextBlob"] = Convert.ToBase64String(destination.Wrap(plaintext, Context(request, "DestinationEncryptionContext"))),
                    ["DestinationKeyMaterialId"] = destination.MaterialId,
                };
            }

            case "DescribeKey":
            {
                var key = Find(Text(request, "KeyId"));
                return new JsonObject { ["KeyMetadata"] = new JsonObject { ["Arn"] = key.Arn, ["KeyId"] = key.Arn.Split('/')[1], ["KeyState"] = key.State, ["CurrentKeyMaterialId"] = key.MaterialId } };
            }

            case "CreateKey":
            {
                var key = Find(CreateKey());
                return new JsonObject { ["KeyMetadata"] = new JsonObject { ["Arn"] = key.Arn, ["KeyId"] = key.Arn.Split('/')[1], ["KeyState"] = key.State } };
            }

            default:
                throw new KmsError("UnsupportedOperationException");
        }
    }

    private static byte[] Unwrap(FakeKey key, byte[] blob, byte[] context)
        => !key.Owns(blob) ? throw new KmsError("IncorrectKeyException") : key.Unwrap(blob, context) ?? throw new KmsError("InvalidCiphertextException");

    private FakeKey Find(string id)
    {
        var arn = id.StartsWith("alias/", StringComparison.Ordinal) ? _aliases.GetValueOrDefault(id) : id;
        return arn is not null && _keys.TryGetValue(arn, out var key) ? key : throw new KmsError("NotFoundException");
    }

    private FakeKey Usable(string id)
    {
        var key = Find(id);
        return key.State switch
        {
            "Enabled" => key,
            "Disabled" => throw new KmsError("DisabledException"),
            _ => throw new KmsError("KMSInvalidStateException"),
        };
    }

    private static string Text(JsonObject request, string name) => request[name]?.GetValue<string>() ?? throw new KmsError("ValidationException");

    private static byte[] Bytes(JsonObject request, string name) => Convert.FromBase64String(Text(request, name));

    /// <summary>Length-prefixed and sorted: no two contexts give the same bytes.</summary>
    private static byte[] Context(JsonObject request, string name)
    {
        var text = new StringBuilder();
        foreach (var (key, value) in (request[name]?.AsObject() ?? []).OrderBy(p => p.Key, StringComparer.Ordinal))
        {
            text.Append(key.Length).Append(':').Append(key).Append(value!.GetValue<string>().Length).Append(':').Append(value.GetValue<string>());
        }

        return Encoding.UTF8.GetBytes(text.ToString());
    }

    private sealed record Fault(string ErrorType, int Status);

    private sealed class KmsError(string type) : Exception
    {
        public string Type => type;
    }

    private sealed class FakeKey(string arn, FakeKey? primary = null)
    {
        private readonly List<byte[]> _materials = primary?._materials ?? [RandomNumberGenerator.GetBytes(32)];
        private readonly byte[] _tag = SHA256.HashData(Encoding.UTF8.GetBytes(arn.Split('/')[1]))[..8];

        public string Arn => arn;

        public string State { get; set; } = "Enabled";

        public string MaterialId => Convert.ToHexStringLower(SHA256.HashData(_materials[^1]));

        public void Rotate() => _materials.Add(RandomNumberGenerator.GetBytes(32));

        public bool Owns(byte[] blob) => blob.Length > 37 && blob.AsSpan(0, 8).SequenceEqual(_tag);

        public byte[] Wrap(byte[] plaintext, byte[] context)
        {
            var blob = new byte[8 + 1 + 12 + plaintext.Length + 16];
            _tag.CopyTo(blob, 0);
            blob[8] = (byte)(_materials.Count - 1);
            RandomNumberGenerator.Fill(blob.AsSpan(9, 12));
            using var gcm = new AesGcm(_materials[^1], 16);
            gcm.Encrypt(blob.AsSpan(9, 12), plaintext, blob.AsSpan(21, plaintext.Length), blob.AsSpan(blob.Length - 16), context);
            return blob;
        }

        public byte[]? Unwrap(byte[] blob, byte[] context)
        {
            var plaintext = new byte[blob.Length - 37];
            using var gcm = new AesGcm(_materials[blob[8]], 16);
            try
            {
                gcm.Decrypt(blob.AsSpan(9, 12), blob.AsSpan(21, plaintext.Length), blob.AsSpan(blob.Length - 16), plaintext, context);
                return plaintext;
            }
            catch (AuthenticationTagMismatchException)
            {
                return null;
            }
        }
    }
}
