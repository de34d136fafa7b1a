using EfEnvelope.Tests.Functional;

namespace EfEnvelope.Tests.KeyManagement;

/// <summary>What needs the modes of files.</summary>
public abstract partial class BadKeyServiceTests
{
    [Theory]
    [InlineData(UnixFileMode.GroupRead)]
    [InlineData(UnixFileMode.OtherRead)]
    [InlineData(UnixFileMode.GroupRead | UnixFileMode.OtherRead)]
    [InlineData(UnixFileMode.GroupWrite)]
    public async Task A_key_file_that_others_may_read_is_refused(UnixFileMode more)
    {
        await using (var context = Local("open.json"))
        {
            context.Add(NewCustomer());
            await context.SaveChangesAsync();
        }

        SetMode("open.json", UnixFileMode.UserRead | UnixFileMode.UserWrite | more);
        var error = await AssertNothingWrittenAsync<EnvelopeConfigurationException>(Local("open.json"), rows: 1);
        Assert.Contains("chmod 600", error.Message, StringComparison.Ordinal);
    }
}
